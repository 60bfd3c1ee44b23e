import { TEMPORARY_ERRORS } from "../constants.js";
import { backoffDelay, LONGEST_TIMER_MS } from "./backoff.js";
import { unsubscribed } from "./envelope.js";
import { RealtimeError } from "./errors.js";
import { createDeferred } from "./promises.js";

/** The first retry comes up to this long after `retryAfter`. The bound then doubles. */
export const RETRY_SPREAD_MS = 250;

/**
 * The rooms that the page wants to be in, over all connections. `ask(room)` sends a `subscribe` and
 * returns its reply. `leave(room)` sends an `unsubscribe` and returns its reply.
 *
 * An entry has: `uses`, the number of subscriptions; `reply`, the reply it waits for; `deferred`,
 * the promise of its subscriptions; `joined`, if it was ever in the room; `failures` in a row on
 * this connection; `timer` of the next retry.
 */
export function createRooms({ ask, leave }) {
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
        settle(entry, "resolve", envelope);
      },
      (error) => {
        if (entry.reply !== reply) return;
        entry.reply = null;
        if (wanted.get(room) === entry) {
          // The next connection asks again, and settles the promise.
          if (error.code === "CONNECTION_LOST") return;
          if (entry.joined && isTemporary(error)) {
            if (connected) joinLater(room, entry, error.retryAfter);
            return;
          }
          if (error.envelope) wanted.delete(room);
        }
        settle(entry, "reject", error);
      },
    );
  }

  function joinLater(room, entry, retryAfter) {
    const delay =
      retryAfter > 0
        ? Number(retryAfter) + backoffDelay(entry.failures, RETRY_SPREAD_MS)
        : backoffDelay(entry.failures);
    entry.failures += 1;
    entry.timer = setTimeout(() => join(room), Math.min(delay, LONGEST_TIMER_MS));
  }

  function stopTimer(entry) {
    clearTimeout(entry.timer);
    entry.timer = null;
  }

  /** No room is asked for again before the next connection. */
  function connectionLost() {
    connected = false;
    wanted.forEach(stopTimer);
  }

  /** One subscription ends. */
  function release(room, entry) {
    entry.uses -= 1;
    if (wanted.get(room) === entry && entry.uses === 0) return leave(room);
    return Promise.resolve(unsubscribed(room));
  }

  function settle(entry, verb, value) {
    const { deferred } = entry;
    entry.deferred = null;
    deferred?.[verb](value);
  }

  return {
    get names() {
      return [...wanted.keys()];
    },

    /**
     * A promise of the server's answer, which may come on a later connection. Promise and answer
     * have `leave()`, which leaves the room unless others have subscribed to it as well.
     */
    want(room) {
      const own = createDeferred();
      if (typeof room !== "string") {
        own.reject(new TypeError("A room is named by a string."));
        return withLeave(own.promise, async () => unsubscribed(room));
      }
      const entry = wanted.get(room) ?? newEntry();
      wanted.set(room, entry);
      entry.deferred ??= createDeferred();
      entry.uses += 1;
      let left;
      const leaveOnce = () => {
        own.reject(new RealtimeError("CANCELLED"));
        left ??= release(room, entry);
        return left;
      };
      const resolve = (envelope) => own.resolve(withLeave({ ...envelope }, leaveOnce));
      entry.deferred.promise.then(resolve, own.reject);
      if (connected && entry.reply === null && entry.timer === null) join(room);
      return withLeave(own.promise, leaveOnce);
    },

    /** The room is not wanted any more. `byServer` is ignored while a `subscribe` is pending. */
    forget(room, byServer) {
      const entry = wanted.get(room);
      if (!entry || (byServer && entry.reply)) return;
      wanted.delete(room);
      stopTimer(entry);
      if (entry.reply === null) settle(entry, "reject", new RealtimeError("CANCELLED"));
    },

    /** There is a new connection, which is in no room. */
    joinAll() {
      connected = true;
      for (const [room, entry] of wanted) {
        entry.failures = 0;
        join(room);
      }
    },

    connectionLost,

    /** No connection is expected: all promises reject, and the rooms stay wanted. */
    rejectAll(code) {
      connectionLost();
      for (const entry of wanted.values()) {
        entry.reply = null;
        settle(entry, "reject", new RealtimeError(code));
      }
    },
  };
}

function newEntry() {
  return { uses: 0, reply: null, deferred: null, joined: false, failures: 0, timer: null };
}

const withLeave = (target, leave) => Object.defineProperty(target, "leave", { value: leave });

function isTemporary({ code }) {
  return code === "TIMEOUT" || TEMPORARY_ERRORS.includes(code);
}
