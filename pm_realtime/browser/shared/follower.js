import { CloseCode, MessageType } from "../constants.js";
import { REPLY_TIMEOUT } from "../core/replies.js";

/** How many messages a tab remembers, to know one that comes again. */
export const REMEMBERED = 500;

// Sent again where the old owner had passed it on and no reply came. The server takes these twice
// without harm, but for `message`, and of that the tabs show the first.
const REPEATABLE = [MessageType.MESSAGE, MessageType.UNSUBSCRIBE, MessageType.PING];

/** `connected` for a tab that has missed something. */
export function afresh(envelope) {
  const { resumed, ...payload } = envelope.payload ?? {};
  return { ...envelope, payload };
}

/**
 * One tab's end of a shared socket: whom it listens to, and what it sent and has no answer to.
 *
 * `post(message)` reaches the owner. `onConnected(envelope)` comes with each new socket under this
 * end, `onReady()` when what was refused may be sent, `onEnd(code, reason)` once, when this end is
 * over. `userId` is undefined where not known. `past` is where the last end of this tab came to.
 */
export function createMember(options) {
  const { post, onConnected, onFrame, onReady, onEnd, id, past } = options;
  let { userId } = options;
  // By number, what went to the owner.
  const unanswered = new Map();
  const seen = new Set();
  const rooms = new Set(past?.rooms);
  let count = 0;
  // How far this tab has read, and how far it had on the socket that the present one goes on from.
  let bookmark = past?.bookmark ?? [];
  let former = [];
  // The owner that spoke last, and the one whose socket this end is on.
  let owner = null;
  let opened = null;
  let sure = true;
  // What is sent while the client is told of a new connection.
  let held = null;

  function transmit(number) {
    const { envelope, again } = unanswered.get(number);
    post({ kind: "send", from: id, to: owner, number, envelope, again });
  }

  const isSubscribe = (number) => unanswered.get(number).envelope.type === MessageType.SUBSCRIBE;

  /** What is left from the last socket, without what the client has given up or asks for anew. */
  function takeLeft() {
    const oldest = Date.now() - REPLY_TIMEOUT;
    for (const [number, entry] of unanswered) {
      if (isSubscribe(number) || entry.at < oldest) unanswered.delete(number);
      else entry.again = true;
    }
    return [...unanswered.keys()];
  }

  function open({ owner: next, envelope }) {
    const user = envelope.payload?.userId ?? null;
    if (userId !== undefined && user !== userId) {
      onEnd(CloseCode.SESSION_ENDED, "Another user has signed in.");
      return;
    }
    userId = user;
    owner = next;
    opened = next;
    const goesOn = turnPage(envelope.payload ?? {});
    sure = true;
    const left = takeLeft();
    held = [];
    onConnected(goesOn ? envelope : afresh(envelope));
    const fresh = held;
    held = null;
    // The rooms come first, then what was said before, then what was said just now.
    const asked = fresh.filter(isSubscribe);
    [...asked, ...left, ...fresh.filter((number) => !asked.includes(number))].forEach(transmit);
    post({ kind: "settled", from: id, to: owner });
  }

  /** Whether the new connection goes on where this tab has stopped reading. */
  function turnPage({ connectionId, resumed }) {
    if (connectionId === bookmark[0]) return false;
    const goesOn = resumed !== undefined && resumed === bookmark[0];
    former = goesOn ? bookmark : [];
    bookmark = [connectionId, 0];
    return goesOn;
  }

  function onTook({ number }) {
    const entry = unanswered.get(number);
    if (!entry) return;
    entry.taken = true;
    const { type } = entry.envelope;
    if (type !== MessageType.SUBSCRIBE && !REPEATABLE.includes(type)) unanswered.delete(number);
  }

  function isRepetition({ envelope, again }) {
    if (envelope.type !== MessageType.MESSAGE || envelope.id === undefined) return false;
    const key = JSON.stringify([envelope.room, envelope.payload?.from?.userId, envelope.id]);
    if (again && seen.has(key)) return true;
    seen.add(key);
    if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
    return false;
  }

  function frame(message) {
    if (message.owner !== opened || message.envelope.resent <= former[1]) return;
    const { id: answered, type, payload } = message.envelope;
    if (type === MessageType.SUBSCRIBED) rooms.add(payload?.room);
    if (type === MessageType.UNSUBSCRIBED) rooms.delete(payload?.room);
    for (const [number, { envelope }] of unanswered) {
      if (envelope.id === answered) unanswered.delete(number);
    }
    if (!isRepetition(message)) onFrame(message.envelope);
  }

  /** Tells the owner, and which rooms this tab was in on the last socket; null where on none. */
  function join() {
    post({ kind: "join", from: id, to: owner, rooms: opened || past ? [...rooms] : null });
  }

  const kinds = {
    owner({ owner: next }) {
      owner = next;
      join();
    },
    here({ owner: next }) {
      owner = next;
    },
    open,
    took: onTook,
    frame,
    sure() {
      if (sure) return;
      sure = true;
      onReady();
    },
    close(message) {
      if (message.owner === owner) onEnd(message.code, message.reason, message.error);
    },
  };

  return {
    get owner() {
      return owner;
    },

    /** Where the next end of this tab, or another tab, goes on. */
    get past() {
      return { bookmark, rooms: [...rooms] };
    },

    join,

    /** The owner is gone, and the next is not known yet. */
    orphan() {
      owner = null;
    },

    /** It is in doubt whether the server is there, until the owner says so. */
    doubt() {
      sure = false;
    },

    /** Whether it was taken; not while one owner hands over to the next. */
    send(envelope, urgent = false) {
      if (opened === null || opened !== owner || !(sure || urgent)) return false;
      count += 1;
      unanswered.set(count, { envelope, at: Date.now(), taken: false, again: false });
      if (held) held.push(count);
      else transmit(count);
      return true;
    },

    receive(message) {
      // What is for others is read, too: who goes on need not get it again.
      if (message.kind === "frame" && message.owner === opened) bookmark = message.read;
      const isForUs = !message.to || message.to.includes(id);
      if (isForUs && Object.hasOwn(kinds, message.kind)) kinds[message.kind](message);
    },
  };
}
