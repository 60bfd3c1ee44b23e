import { CloseCode, MessageType } from "../constants.js";
import { REPLY_TIMEOUT_MS } from "../core/replies.js";

/** How many messages a tab remembers, to recognise one that comes again. */
const MAX_REMEMBERED = 500;

// Commands that are sent again if the last leader sent them and no reply came. The server can take
// these twice. Of a repeated `message` the tabs show the first one only.
const REPEATABLE = [MessageType.MESSAGE, MessageType.UNSUBSCRIBE, MessageType.PING];

/** The `connected` frame for a tab that missed something: without `resumed`. */
export function withoutResumed(envelope) {
  const { resumed, ...payload } = envelope.payload ?? {};
  return { ...envelope, payload };
}

/**
 * One tab's end of a shared socket. It follows a leader, and keeps commands until the answer.
 *
 * `post(message)` reaches the leader. `onConnected(envelope)` comes for each new real socket,
 * `onHealthy()` when messages that `send` refused may be sent, `onEnd(code, reason, error)` once,
 * when this end is over. `userId` is undefined if it is not known. `past` is that of the tab's last
 * end. `onlyFollows`: until it is connected, no socket is opened for it.
 */
export function createFollower(options) {
  const { post, onConnected, onFrame, onHealthy, onEnd, id, past } = options;
  let { onlyFollows = false } = options;
  let { userId } = options;
  // By number, the commands that went to the leader.
  const unanswered = new Map();
  const seen = new Set();
  const rooms = new Set(past?.rooms);
  let count = 0;
  // How far this tab has read, and how far it had read on the socket that the present one resumes.
  let position = past?.position ?? [];
  let resumedPosition = [];
  // The leader that spoke last, and the leader whose socket this end is on.
  let leader = null;
  let opened = null;
  let healthy = true;
  // The commands that are sent while the client handles a new connection.
  let held = null;

  function transmit(number) {
    const { envelope, again } = unanswered.get(number);
    post({ kind: "send", from: id, to: leader, number, envelope, again });
  }

  const isSubscribe = (number) => unanswered.get(number).envelope.type === MessageType.SUBSCRIBE;

  /** Commands of the last socket, without those that timed out or that the client sends again. */
  function takeUnanswered() {
    const oldest = Date.now() - REPLY_TIMEOUT_MS;
    for (const [number, entry] of unanswered) {
      if (isSubscribe(number) || entry.at < oldest) unanswered.delete(number);
      else entry.again = true;
    }
    return [...unanswered.keys()];
  }

  function open({ leader: next, envelope }) {
    const user = envelope.payload?.userId ?? null;
    if (userId !== undefined && user !== userId) {
      onEnd(CloseCode.SESSION_ENDED, "Another user has signed in.");
      return;
    }
    userId = user;
    leader = next;
    opened = next;
    const isResumed = startReading(envelope.payload ?? {});
    healthy = true;
    onlyFollows = false;
    const left = takeUnanswered();
    held = [];
    onConnected(isResumed ? envelope : withoutResumed(envelope));
    const fresh = held;
    held = null;
    // First the rooms, then the older commands, then the new ones.
    const asked = fresh.filter(isSubscribe);
    [...asked, ...left, ...fresh.filter((number) => !asked.includes(number))].forEach(transmit);
    post({ kind: "settled", from: id, to: leader });
  }

  /** Says if the new connection goes on where this tab stopped reading. */
  function startReading({ connectionId, resumed }) {
    if (connectionId === position[0]) return false;
    const isResumed = resumed !== undefined && resumed === position[0];
    resumedPosition = isResumed ? position : [];
    position = [connectionId, 0];
    return isResumed;
  }

  function onTook({ number }) {
    const entry = unanswered.get(number);
    if (!entry) return;
    const { type } = entry.envelope;
    if (type !== MessageType.SUBSCRIBE && !REPEATABLE.includes(type)) unanswered.delete(number);
  }

  function isRepetition({ envelope, again }) {
    if (envelope.type !== MessageType.MESSAGE || envelope.id === undefined) return false;
    const key = JSON.stringify([envelope.room, envelope.payload?.from?.userId, envelope.id]);
    if (again && seen.has(key)) return true;
    seen.add(key);
    if (seen.size > MAX_REMEMBERED) seen.delete(seen.values().next().value);
    return false;
  }

  function frame(message) {
    if (message.leader !== opened || message.envelope.resent <= resumedPosition[1]) return;
    const { id: answered, type, payload } = message.envelope;
    if (type === MessageType.SUBSCRIBED) rooms.add(payload?.room);
    if (type === MessageType.UNSUBSCRIBED) rooms.delete(payload?.room);
    for (const [number, { envelope }] of unanswered) {
      if (envelope.id === answered) unanswered.delete(number);
    }
    if (!isRepetition(message)) onFrame(message.envelope);
  }

  /** Tells the leader which rooms this tab was in on the last socket; null if there was none. */
  function join() {
    const joined = opened || past ? [...rooms] : null;
    post({ kind: "join", from: id, to: leader, rooms: joined, onlyFollows });
  }

  const kinds = {
    __proto__: null,
    leader({ leader: next }) {
      leader = next;
      join();
    },
    here({ leader: next }) {
      leader = next;
    },
    open,
    took: onTook,
    frame,
    healthy() {
      if (healthy) return;
      healthy = true;
      onHealthy();
    },
    close(message) {
      if (message.leader === leader) onEnd(message.code, message.reason, message.error);
    },
  };

  return {
    get leader() {
      return leader;
    },

    /** Where the next end of this tab, or the next leader, goes on. */
    get past() {
      return { position, rooms: [...rooms] };
    },

    get onlyFollows() {
      return onlyFollows;
    },

    join,

    /** The leader is gone, and the next one is not known yet. */
    loseLeader() {
      leader = null;
    },

    /** The server may be gone; the leader says when it answers. */
    suspect() {
      healthy = false;
    },

    /** Says if the command was taken. Between two leaders it is not. */
    send(envelope, urgent = false) {
      if (opened === null || opened !== leader || !(healthy || urgent)) return false;
      count += 1;
      unanswered.set(count, { envelope, at: Date.now(), again: false });
      if (held) held.push(count);
      else transmit(count);
      return true;
    },

    receive(message) {
      // Frames for other tabs count as read, too: the next leader need not get them again.
      if (message.kind === "frame" && message.leader === opened) position = message.position;
      const isForThis = !message.to || message.to.includes(id);
      if (isForThis) kinds[message.kind]?.(message);
    },
  };
}
