import { TEMPORARY_ERRORS } from "../constants.js";
import { retryDelay } from "./backoff.js";
import { unsubscribed } from "./envelope.js";
import { RealtimeError } from "./errors.js";
import { createDeferred } from "./promises.js";
import { createRequest, merge, serves, settle } from "./room_request.js";

/**
 * The rooms that the page wants to be in, over all connections. `ask(payload, { resolve, reject })`
 * sends a `subscribe`, and calls one of the two before the frame after the reply is handled.
 * `leave(room)` sends an `unsubscribe` and returns its reply. `onReleased()` comes when what was
 * held back for a room may be sent, and `onJoined(room, payload)` and `onLeft(room)` when the page is
 * in a room and when it is not wanted any more. `position` knows how far the page is in
 * each room, `pageCursors` from where the page's own content goes on, and `readers` which handlers
 * wait for a reply.
 *
 * An entry has: `uses`, the number of subscriptions; `asking`, the request that waits for its reply;
 * `next`, the request to send after that; `joined`, if it was ever in the room; `here`, if it is on
 * this connection; `last`, how many messages of the past its subscriptions want; `failures` in a row
 * on this connection; `timer` of the next retry.
 */
export function createRooms({ ask, leave, ...hooks }) {
  const { onReleased, onJoined, onLeft, position, pageCursors, readers } = hooks;
  const wanted = new Map();
  // Rooms that the page has left, or that it was refused.
  const outside = new Set();
  let connected = false;

  function join(room) {
    const entry = wanted.get(room);
    stopTimer(entry);
    const request = takeRequest(entry);
    const { since, last } = placeToAsk(room, entry, request);
    const isPlaced = since !== undefined || last !== undefined;
    if (entry.here && isPlaced) readers.hold(room);
    // What comes before the reply is from an earlier stay in the room.
    if (!entry.here && (isPlaced || position.room(room) === undefined)) readers.start(room);
    entry.asking = request;
    ask(
      { room, since, last },
      {
        resolve: (envelope) => granted(room, entry, request, envelope),
        reject: (error) => refused(room, entry, request, error),
      },
    );
  }

  const isBack = ({ joined, here }) => joined && !here;

  function takeRequest(entry) {
    const { next } = entry;
    // First the page goes on where it was.
    if (isBack(entry) && next?.place) return createRequest();
    entry.next = null;
    return next ?? createRequest();
  }

  function placeToAsk(room, entry, { place }) {
    if (!isBack(entry)) return place ?? { since: entry.joined ? undefined : position.leftRoom(room) };
    const since = readers.lowest(room);
    return since === undefined ? {} : { since, last: entry.last };
  }

  function granted(room, entry, request, envelope) {
    if (entry.asking !== request) return;
    const { here } = entry;
    const { last } = request.place ?? {};
    const reply = { ...envelope.payload, since: request.place?.since };
    let isAhead = false;
    Object.assign(entry, { asking: null, joined: true, here: true, failures: 0 });
    if (last !== undefined && !(last <= entry.last)) entry.last = last;
    if (wanted.get(room) === entry) {
      // If it is in the room already, what it has got so far may end before this cursor.
      const isKnown = (here || readers.hasLate(room)) && position.room(room) !== undefined;
      if (!isKnown) position.startRoom(room, reply);
      const isForGroup = Boolean(here && request.place);
      isAhead = readers.answered(room, reply, { isForGroup, isLast: !entry.next?.place });
      pageCursors.markUsed(request.elements);
      onJoined(room, envelope.payload);
    }
    // Some of the page are on their way to the place that a part of it has asked for.
    if (isAhead) entry.here = false;
    settle(request, "resolve", envelope);
    const isDue = (isAhead || entry.next) && entry.asking === null;
    if (isDue && wanted.get(room) === entry) join(room);
    onReleased();
  }

  function refused(room, entry, request, error) {
    if (entry.asking !== request) return;
    entry.asking = null;
    const isLost = error.code === "CONNECTION_LOST";
    if (wanted.get(room) !== entry) {
      settle(request, "reject", error);
    } else if (isLost || (entry.joined && isTemporary(error))) {
      entry.next = merge(request, entry.next);
      // If it is lost, the next connection asks again, and settles the promises.
      if (connected && !isLost) joinLater(room, entry, error.retryAfter);
    } else if (entry.here && error.code === "INVALID_PAYLOAD") {
      // The place of one subscription; the others stay in the room.
      readers.release(room);
      entry.here = readers.lowest(room) === position.room(room);
      settle(request, "refuse", error);
      if ((!entry.here || entry.next) && wanted.get(room) === entry) join(room);
    } else {
      entry.next = merge(request, entry.next);
      readers.release(room);
      if (error.envelope) drop(room);
      settleNext(entry, error);
      onReleased();
    }
  }

  function joinLater(room, entry, retryAfter) {
    entry.timer = setTimeout(() => join(room), retryDelay(retryAfter, entry.failures));
    entry.failures += 1;
  }

  function stopTimer(entry) {
    clearTimeout(entry.timer);
    entry.timer = null;
  }

  /** No room is asked for again before the next connection. */
  function connectionLost() {
    connected = false;
    readers.connectionLost();
    for (const entry of wanted.values()) {
      stopTimer(entry);
      entry.here = false;
      if (entry.asking) entry.next = merge(entry.asking, entry.next);
      entry.asking = null;
    }
  }

  /** The promises reject. A place is asked for by the next connection, if this one never was there. */
  function settleNext(entry, error) {
    settle(entry.next, "reject", error);
    if (entry.joined) entry.next = null;
  }

  function drop(room) {
    wanted.delete(room);
    outside.add(room);
    readers.forget(room);
    position.startRoom(room);
    onLeft(room);
  }

  /** One subscription ends. */
  function release(room, entry) {
    entry.uses -= 1;
    if (wanted.get(room) === entry && entry.uses === 0) return leave(room);
    return Promise.resolve(unsubscribed(room));
  }

  /** From where a new subscription wants the room's messages. */
  function requestFor(room, entry, { since, last }, waiter) {
    if ((since ?? last ?? null) !== null) {
      return createRequest({ since: since ?? undefined, last: last ?? undefined }, [], [waiter]);
    }
    const elements = pageCursors.find(room);
    const cursor = elements[elements.length - 1]?.dataset.pmCursor;
    const isPast = cursor !== undefined && !(entry.here && position.room(room) <= cursor);
    return createRequest(isPast ? { since: cursor } : null, elements, [waiter]);
  }

  function add(room, entry, request) {
    const { asking } = entry;
    if (request.place && entry.here) readers.hold(room);
    if (asking && serves(asking, request)) {
      asking.waiters.push(...request.waiters);
      asking.elements.push(...request.elements);
    } else {
      entry.next = merge(request, entry.next);
    }
    if (connected && entry.asking === null && entry.timer === null) join(room);
  }

  return {
    get names() {
      return [...wanted.keys()];
    },

    /** Says if the room was joined before, and was refused so far on this connection. */
    isRetrying(room) {
      const entry = wanted.get(room);
      return entry?.failures > 0 && isBack(entry);
    },

    /** Says if the page has left the room, or was refused it. */
    isOutside(room) {
      return outside.has(room);
    },

    /** The server has taken the page into the room. */
    joinedByServer(room) {
      outside.delete(room);
    },

    /**
     * A promise of the server's answer, which may come on a later connection. Promise and answer
     * have `leave()`, which leaves the room unless others have subscribed to it as well.
     */
    want(room, options) {
      const own = createDeferred();
      if (typeof room !== "string") {
        own.reject(new TypeError("A room is named by a string."));
        return withLeave(own.promise, async () => unsubscribed(room));
      }
      const entry = wanted.get(room) ?? newEntry();
      wanted.set(room, entry);
      outside.delete(room);
      entry.uses += 1;
      let left;
      const leaveOnce = () => {
        own.reject(new RealtimeError("CANCELLED"));
        left ??= release(room, entry);
        return left;
      };
      const waiter = {
        resolve(envelope) {
          const { cursor, recovered } = envelope.payload ?? {};
          own.resolve(withLeave({ ...envelope, room, cursor, recovered }, leaveOnce));
        },
        reject: own.reject,
        refuse(error) {
          own.reject(error);
          leaveOnce();
        },
      };
      add(room, entry, requestFor(room, entry, options ?? {}, waiter));
      return withLeave(own.promise, leaveOnce);
    },

    /** The room is not wanted any more. `byServer` is ignored while a `subscribe` is pending. */
    forget(room, byServer) {
      const entry = wanted.get(room);
      if (byServer && entry?.asking) return;
      drop(room);
      if (!entry) return;
      stopTimer(entry);
      settle(entry.next, "reject", new RealtimeError("CANCELLED"));
      onReleased();
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
      for (const [room, entry] of wanted) {
        readers.release(room);
        settleNext(entry, new RealtimeError(code));
      }
    },
  };
}

function newEntry() {
  return {
    uses: 0,
    asking: null,
    next: null,
    joined: false,
    here: false,
    last: undefined,
    failures: 0,
    timer: null,
  };
}

const withLeave = (target, leave) => Object.defineProperty(target, "leave", { value: leave });

function isTemporary({ code }) {
  return TEMPORARY_ERRORS.includes(code);
}
