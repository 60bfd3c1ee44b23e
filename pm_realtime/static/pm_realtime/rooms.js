import { backoffDelay } from "./backoff.js";
import { LocalErrorCode, TEMPORARY_ERRORS } from "./constants.js";
import { createDeferred, RealtimeError } from "./replies.js";

/** How far beyond `retryAfter` the first repetition may come, in ms; the bound then doubles. */
export const RETRY_SPREAD = 250;

// Browsers take a longer wait for none at all.
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * The rooms this client wants to be in, whatever becomes of its connections.
 *
 * `ask(room)` sends a `subscribe` and gives the promise of its reply.
 */
export function createRooms(ask) {
  const wanted = new Map();
  let connected = false;

  function join(room) {
    const entry = wanted.get(room);
    stopTimer(entry);
    const reply = ask(room);
    entry.reply = reply;
    reply.then(
      (envelope) => {
        if (entry.reply !== reply) return;
        entry.reply = null;
        entry.joined = true;
        entry.failures = 0;
        answer(entry, "resolve", envelope);
      },
      (error) => {
        if (entry.reply !== reply) return;
        entry.reply = null;
        if (wanted.get(room) === entry) {
          // Asked again on the next connection, which then answers whoever waits.
          if (error.code === LocalErrorCode.CONNECTION_LOST) return;
          if (entry.joined && isTemporary(error)) {
            if (connected) joinLater(room, entry, error.retryAfter);
            return;
          }
          if (error.envelope) wanted.delete(room);
        }
        answer(entry, "reject", error);
      },
    );
  }

  /** The connection lasts, so that no reconnect would ask for the room again. */
  function joinLater(room, entry, retryAfter) {
    const delay =
      retryAfter > 0
        ? Number(retryAfter) + backoffDelay(entry.failures, RETRY_SPREAD)
        : backoffDelay(entry.failures);
    entry.failures += 1;
    entry.timer = setTimeout(() => join(room), Math.min(delay, LONGEST_TIMER));
  }

  function stopTimer(entry) {
    clearTimeout(entry.timer);
    entry.timer = null;
  }

  function connectionLost() {
    connected = false;
    wanted.forEach(stopTimer);
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
    want(room) {
      if (!wanted.has(room)) wanted.set(room, newEntry());
      const entry = wanted.get(room);
      entry.deferred ??= createDeferred();
      const { promise } = entry.deferred;
      if (connected && entry.reply === null && entry.timer === null) join(room);
      return promise;
    },

    /** No longer wants the room, by our own choice or the server's. */
    forget(room) {
      const entry = wanted.get(room);
      if (!entry) return;
      wanted.delete(room);
      stopTimer(entry);
      if (entry.reply === null) {
        const message = "Unsubscribed before the answer.";
        answer(entry, "reject", new RealtimeError(LocalErrorCode.CANCELLED, message));
      }
    },

    /** A new connection is in no room. */
    joinAll() {
      connected = true;
      for (const [room, entry] of wanted) {
        entry.failures = 0;
        join(room);
      }
    },

    /** Nothing is asked for again before the next connection. */
    connectionLost,

    /** No connection will come by itself: nobody is left waiting; the rooms stay wanted. */
    rejectAll(code, message) {
      connectionLost();
      for (const entry of wanted.values()) {
        entry.reply = null;
        answer(entry, "reject", new RealtimeError(code, message));
      }
    },
  };
}

/** `joined`: the server has granted it once. `failures`: in a row, on this connection. */
function newEntry() {
  return { reply: null, deferred: null, joined: false, failures: 0, timer: null };
}

function isTemporary({ code }) {
  return code === LocalErrorCode.TIMEOUT || TEMPORARY_ERRORS.includes(code);
}
