import { MessageType } from "../constants.js";
import { roomOf } from "./envelope.js";
import { RealtimeError } from "./errors.js";

/**
 * How long a command may stay unanswered after it was sent. One that may be sent again may wait for
 * others, so for it the time counts from the last answer to one of these.
 */
export const REPLY_TIMEOUT_MS = 15_000;

/**
 * Commands that were sent and wait for the reply that has their `id`. `takeBack(item)` says if one that
 * was refused because of its room is kept to be sent later.
 *
 * An item with `isRepeatable` may be sent again, on the next connection. Before it times out, `probe()`
 * finds out if there still is a connection. One with `isTimed` is timed by its sender, and may hold up
 * others of its room.
 */
export function createReplies({ probe, takeBack }) {
  const pending = new Map();
  let answeredAt = -Infinity;

  function remove(id) {
    const entry = pending.get(id);
    pending.delete(id);
    clearTimeout(entry?.timer);
    return entry?.item;
  }

  function reject(id, code) {
    remove(id)?.deferred.reject(new RealtimeError(code));
  }

  /** Says if its sender gives it time, or gives it to one before it in its room. */
  function hasTime(item) {
    const room = roomOf(item.envelope);
    for (const { item: one } of pending.values()) {
      if (one === item) break;
      if (one.isTimed && room !== undefined && roomOf(one.envelope) === room) return true;
    }
    return item.isTimed;
  }

  const timeLeft = () => answeredAt + REPLY_TIMEOUT_MS - Date.now();

  function expire(id) {
    const entry = pending.get(id);
    const left = timeLeft();
    if ((!entry.item.isRepeatable || (entry.isLate && left <= 0)) && !hasTime(entry.item)) {
      reject(id, "TIMEOUT");
      return;
    }
    entry.isLate = left <= 0;
    entry.timer = setTimeout(() => expire(id), entry.isLate ? REPLY_TIMEOUT_MS : left);
    if (entry.isLate) probe();
  }

  return {
    /** The command of this id needs no reply any more. */
    remove,

    /** The item is on its way; a reply of its type settles it. */
    sent(item) {
      const { id } = item.envelope;
      remove(id);
      const timer = setTimeout(() => expire(id), REPLY_TIMEOUT_MS);
      pending.set(id, { item, isLate: false, timer });
    },

    /** Settles the command that the envelope answers, if there is one. */
    settle(envelope) {
      const { id, type, payload } = envelope;
      if (pending.get(id)?.item.isRepeatable) answeredAt = Date.now();
      if (type === MessageType.ERROR) {
        // The server does not read a command that is too large, so its error has no id.
        const isUnread = id === undefined && payload?.code === "MESSAGE_TOO_LARGE";
        const limit = isUnread && /\d+/.exec(payload.message);
        for (const [key, { item }] of pending) {
          const isMeant = limit
            ? new Blob([JSON.stringify(item.envelope)]).size > limit
            : key === id;
          if (!isMeant) continue;
          const { deferred } = remove(key);
          const isKept = payload?.code === "NOT_IN_ROOM" && takeBack(item);
          if (!isKept) deferred.reject(new RealtimeError(payload?.code, envelope));
        }
      } else if (type === MessageType.ACK) {
        const item = remove(id);
        item?.deferred.resolve({ ...envelope, payload: { ...item.envelope.payload, ...payload } });
      } else if (pending.get(id)?.item.replyType === type) {
        remove(id).deferred.resolve(envelope);
      }
    },

    /** The server is there, but has not answered these in time. */
    onHealthy() {
      for (const [id, { isLate, item }] of pending) {
        if (isLate && timeLeft() <= 0 && !hasTime(item)) reject(id, "TIMEOUT");
      }
    },

    /** The connection is lost: returns the items to send again, and rejects the others. */
    takeRepeatable() {
      const items = [...pending.keys()].map(remove);
      for (const { isRepeatable, deferred } of items) {
        if (!isRepeatable) deferred.reject(new RealtimeError("CONNECTION_LOST"));
      }
      return items.filter(({ isRepeatable }) => isRepeatable);
    },

    rejectAll(code) {
      for (const id of [...pending.keys()]) reject(id, code);
    },
  };
}
