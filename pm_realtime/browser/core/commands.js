import { MessageType } from "../constants.js";
import { LONGEST_TIMER_MS } from "./backoff.js";
import { complete, roomOf } from "./envelope.js";
import { RealtimeError } from "./errors.js";
import { createOutbox } from "./outbox.js";
import { createDeferred } from "./promises.js";
import { createReplies } from "./replies.js";

/** Replies to commands that the server carries out once, however often they are sent. */
const REPEATABLE = [MessageType.MESSAGE, MessageType.RESULT];

/**
 * Everything that the client asks of the server, from the call to the answer. `send(envelope, urgent, replyType)`
 * says if it was sent on the present connection, and `probe()` asks the server if it is there.
 * `isRetrying(room)` says if a room that the client was in has been refused, and is asked for again.
 *
 * An item has: `envelope`; `replyType`, the type of the answer, if there is one; `deferred`;
 * `isTimed`, if its sender said for how long it waits; once sent, `expiresAt`, up to when the server
 * knows it again, and `isRepeatable`. The outbox adds its own parts.
 */
export function createCommands({ send, probe, isConnected, isRetrying }) {
  const replies = createReplies({ probe, takeBack });
  const isEarly = (item) => isRetrying(roomOf(item.envelope));
  const outbox = createOutbox(transmit, isEarly);
  // For how long the server remembers a command, in ms, so that it can be sent again.
  let idempotencyPeriod = 0;
  // Nothing is queued, because no connection is expected.
  let refusing = false;

  function transmit(item, urgent = false) {
    const { envelope, replyType, deferred } = item;
    if (!send(envelope, urgent, replyType)) return false;
    item.expiresAt ??= Date.now() + idempotencyPeriod;
    item.isRepeatable = REPEATABLE.includes(replyType) && idempotencyPeriod > 0;
    if (replyType) replies.sent(item);
    else deferred.resolve();
    return true;
  }

  /** A room that is not back yet is no reason to refuse what is for it. */
  function takeBack(item) {
    if (!isEarly(item)) return false;
    outbox.returned(item);
    return true;
  }

  /** `start(item)` sends a command; `deferred` rejects if JSON cannot write it. */
  function command(envelope, replyType, start, deferred = createDeferred()) {
    try {
      if (typeof envelope?.type !== "string") throw new TypeError("An envelope needs a type.");
      // A copy, because the page may change its objects while the message is queued.
      const written = JSON.parse(JSON.stringify(complete(envelope)));
      start({ envelope: written, replyType, deferred });
    } catch (error) {
      deferred.reject(error);
    }
    return deferred.promise;
  }

  function timeOut(item, timeout) {
    const { deferred, envelope } = item;
    const timer = setTimeout(() => {
      outbox.remove(item);
      replies.remove(envelope.id);
      deferred.reject(new RealtimeError("TIMEOUT"));
    }, Math.min(timeout, LONGEST_TIMER_MS));
    const stop = () => clearTimeout(timer);
    deferred.promise.then(stop, stop);
  }

  return {
    /** Sends, or queues until there is a connection. Rejects after `timeout` ms, if it is given. */
    post: (envelope, replyType, timeout) =>
      command(envelope, replyType, (item) => {
        if (refusing) return item.deferred.reject(new RealtimeError("NOT_CONNECTED"));
        item.isTimed = timeout > 0;
        outbox.push(item);
        if (item.isTimed) timeOut(item, timeout);
      }),

    /** Sends on the present connection, or rejects. */
    sendNow(type, payload, replyType, deferred) {
      const start = (item) => {
        if (transmit(item, true)) return;
        const code = isConnected() ? "CONNECTION_LOST" : "NOT_CONNECTED";
        item.deferred.reject(new RealtimeError(code));
      };
      return command({ type, payload }, replyType, start, deferred);
    },

    /** Sends on the present connection to a room that is back, or not at all. No answer is expected. */
    sendVolatile: (type, payload) =>
      command({ type, payload }, undefined, (item) => {
        const { id, ...rest } = item.envelope;
        if (!isEarly(item)) send(rest);
        item.deferred.resolve();
      }),

    settle: replies.settle,

    /** Says if no connection is expected. */
    isRefusing: () => refusing,

    onHealthy() {
      replies.onHealthy();
      outbox.flush();
    },

    /** The client tries to connect. */
    onConnecting: () => void (refusing = false),

    /** There is a new connection. `isOther`: it is another user's. */
    onConnected(period, isOther) {
      idempotencyPeriod = period;
      // Messages of one user must not be sent in the name of another.
      if (isOther) outbox.rejectAll("USER_CHANGED");
    },

    flush: outbox.flush,

    /** What has no answer is sent again on the next connection, before what is newer. */
    onLost: () => outbox.sendAgain(replies.takeRepeatable()),

    refuseAll(code) {
      refusing = true;
      replies.rejectAll(code);
      outbox.rejectAll(code);
    },
  };
}
