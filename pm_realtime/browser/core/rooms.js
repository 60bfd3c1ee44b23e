import { backoffDelay, LONGEST_TIMER } from "./backoff.js";
import { TEMPORARY_ERRORS } from "../constants.js";
import { RealtimeError } from "./errors.js";
import { createDeferred, ignorable } from "./promises.js";

export const RETRY_SPREAD = 250;

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
          // The next connection's answer is that of whoever waits.
          if (error.code === "CONNECTION_LOST") return;
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

    want(room) {
      if (typeof room !== "string") {
        return ignorable(Promise.reject(new TypeError("A room is named by a string.")));
      }
      const entry = wanted.get(room) ?? newEntry();
      wanted.set(room, entry);
      entry.deferred ??= createDeferred();
      const { promise } = entry.deferred;
      if (connected && entry.reply === null && entry.timer === null) join(room);
      return promise;
    },

    forget(room, byServer) {
      const entry = wanted.get(room);
      if (!entry || (byServer && entry.reply)) return;
      wanted.delete(room);
      stopTimer(entry);
      if (entry.reply === null) answer(entry, "reject", new RealtimeError("CANCELLED"));
    },

    joinAll() {
      connected = true;
      for (const [room, entry] of wanted) {
        entry.failures = 0;
        join(room);
      }
    },

    connectionLost,

    rejectAll(code) {
      connectionLost();
      for (const entry of wanted.values()) {
        entry.reply = null;
        answer(entry, "reject", new RealtimeError(code));
      }
    },
  };
}

const newEntry = () => ({ reply: null, deferred: null, joined: false, failures: 0, timer: null });

function isTemporary({ code }) {
  return code === "TIMEOUT" || TEMPORARY_ERRORS.includes(code);
}
