import { LocalErrorCode } from "./constants.js";
import { createDeferred, RealtimeError } from "./replies.js";

/**
 * The rooms this client wants to be in, whatever becomes of its connections.
 *
 * `ask(room)` sends a `subscribe` and gives the promise of its reply.
 */
export function createRooms(ask) {
  const wanted = new Map();

  function join(room) {
    const entry = wanted.get(room);
    const reply = ask(room);
    entry.reply = reply;
    reply.then(
      (envelope) => {
        if (entry.reply !== reply) return;
        entry.reply = null;
        answer(entry, "resolve", envelope);
      },
      (error) => {
        if (entry.reply !== reply) return;
        entry.reply = null;
        // Asked again on the next connection, which then answers whoever waits.
        if (error.code === LocalErrorCode.CONNECTION_LOST && wanted.get(room) === entry) return;
        if (error.envelope && wanted.get(room) === entry) wanted.delete(room);
        answer(entry, "reject", error);
      },
    );
  }

  function answer(entry, verb, value) {
    const { deferred } = entry;
    entry.deferred = null;
    deferred?.[verb](value);
  }

  return {
    get names() {
      return [...wanted.keys()];
    },

    /** Wants the room; the promise settles with the server's answer, over reconnects. */
    want(room, connected) {
      if (!wanted.has(room)) wanted.set(room, { reply: null, deferred: null });
      const entry = wanted.get(room);
      entry.deferred ??= createDeferred();
      const { promise } = entry.deferred;
      if (connected && entry.reply === null) join(room);
      return promise;
    },

    /** No longer wants the room, by our own choice or the server's. */
    forget(room) {
      const entry = wanted.get(room);
      if (!entry) return;
      wanted.delete(room);
      if (entry.reply === null) {
        const message = "Unsubscribed before the answer.";
        answer(entry, "reject", new RealtimeError(LocalErrorCode.CANCELLED, message));
      }
    },

    /** A new connection is in no room. */
    joinAll() {
      for (const room of wanted.keys()) join(room);
    },

    /** No connection will come by itself: nobody is left waiting; the rooms stay wanted. */
    rejectAll(code, message) {
      for (const entry of wanted.values()) {
        entry.reply = null;
        answer(entry, "reject", new RealtimeError(code, message));
      }
    },
  };
}
