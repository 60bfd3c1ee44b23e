import { CloseCode, MessageType } from "../constants.js";
import { createCursors, isOf } from "../core/cursors.js";
import { isVolatile } from "./volatile.js";

/**
 * One tab's end of a shared socket. It follows a leader, and keeps commands until a leader has
 * taken them.
 *
 * `post(message)` reaches the leader. `readPosition()` returns how far the tab is in its user's
 * streams. `onConnected(envelope)` comes for each new real socket, `onHealthy()` when messages that
 * `send` refused may be sent, `onEnd(code, reason, error)` once, when this end is over. `userId` is
 * undefined if it is not known. `onlyFollows`: until it is connected, no socket is opened for it.
 */
export function createFollower(options) {
  const { post, readPosition, onConnected, onFrame, onHealthy, onEnd, id } = options;
  let { onlyFollows = false } = options;
  let { userId } = options;
  // By number, the commands that no leader has taken. `isAwaited`: the client waits for a reply.
  const untaken = new Map();
  // How far this tab is in its rooms, and in which of them it is about to hear of a gap.
  let rooms = createCursors();
  const gaps = new Set();
  let count = 0;
  // The leader that spoke last, and the leader whose socket this end is on.
  let leader = null;
  let opened = null;
  let healthy = true;
  // The commands that are sent while the client handles a new connection.
  let held = null;

  function transmit({ number, envelope }) {
    const kind = isVolatile(envelope) ? "volatile" : "send";
    post({ kind, from: id, to: leader, number, envelope });
  }

  /** Commands that the last leader did not take, and that the client does not send again. */
  function takeLeft() {
    for (const [number, { isAwaited }] of untaken) if (isAwaited) untaken.delete(number);
    return [...untaken.values()];
  }

  function open(message) {
    const user = message.envelope.payload?.userId ?? null;
    if (userId !== undefined && user !== userId) {
      onEnd(CloseCode.SESSION_ENDED, "Another user has signed in.");
      return;
    }
    userId = user;
    leader = message.leader;
    opened = message.leader;
    healthy = true;
    onlyFollows = false;
    rooms = createCursors();
    gaps.clear();
    const left = takeLeft();
    held = [];
    const { envelope, lost } = viewOf(message, positionOf(user));
    onConnected(envelope);
    const fresh = held;
    held = null;
    for (const gap of lost) onFrame(gap);
    sendAnew(left, fresh);
  }

  /** First the rooms, then the older commands, then the new ones. */
  function sendAnew(left, fresh) {
    const isAsking = ({ envelope }) => envelope.type === MessageType.SUBSCRIBE;
    const newer = fresh.filter((command) => !isAsking(command));
    [...fresh.filter(isAsking), ...left, ...newer].forEach(transmit);
  }

  function frame({ leader: from, envelope }) {
    if (from !== opened) return;
    const { type, payload, room } = envelope;
    if (type === MessageType.SUBSCRIBED) {
      rooms.startRoom(payload?.room, payload);
      if (payload?.recovered === false) gaps.add(payload.room);
    }
    if (type === MessageType.GAP && !concerns(envelope)) return;
    if (room !== undefined) rooms.note(envelope);
    onFrame(envelope);
  }

  /** Says if this tab has not got as far as the gap ends. */
  function concerns(gap) {
    const { room, to, cursor } = gap;
    if (room === undefined) return !(readPosition().since?.[to] >= cursor);
    const isExpected = gaps.delete(room);
    const isBehind = !(rooms.room(room) >= cursor);
    rooms.move(gap);
    return isExpected || isBehind;
  }

  /** How far this tab is. The last page may have been one of another user. */
  function positionOf(user) {
    const position = readPosition();
    return isOf(user, position) ? position : { ids: [] };
  }

  /** Tells the leader from where this tab goes on. */
  function join() {
    const position = userId === undefined ? readPosition() : positionOf(userId);
    post({ kind: "join", from: id, to: leader, position, onlyFollows });
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
    took: ({ number }) => untaken.delete(number),
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

    /**
     * Says if the command was taken. Between two leaders it is not. With a `replyType`, the client
     * sends it again on a new connection. A volatile message is not kept.
     */
    send(envelope, urgent = false, replyType = undefined) {
      if (opened === null || opened !== leader || !(healthy || urgent)) return false;
      count += 1;
      const command = { number: count, envelope, isAwaited: Boolean(replyType) };
      if (!isVolatile(envelope)) untaken.set(count, command);
      if (held) held.push(command);
      else transmit(command);
      return true;
    },

    receive(message) {
      const isForThis = !message.to || message.to.includes(id);
      if (isForThis) kinds[message.kind]?.(message);
    },
  };
}

/**
 * The `connected` frame for a tab that is at `position`, and the gaps that it has to hear of. `from`
 * is where the leader goes on for it; it also takes back the cursors in `reset`.
 */
function viewOf({ envelope, from = {}, reset = {} }, { since }) {
  const { recovered, ...payload } = envelope.payload ?? {};
  const isRole = (to) => to.startsWith("role:");
  // As for the server: a tab that names some of its roles did not have the others.
  const namesRoles = Object.keys(since ?? {}).some(isRole);
  const isGained = (to) => namesRoles && isRole(to) && !(to in since);
  const isLost = (to) => since?.[to] < from[to] || isGained(to);
  const start = (to) => (since?.[to] >= from[to] && !(to in reset) ? since[to] : from[to]);
  const streams = Object.keys(from);
  const lost = streams.filter(isLost);
  const cursors = Object.fromEntries(streams.map((to) => [to, start(to)]));
  const isRecovered = since ? { recovered: lost.length === 0 } : {};
  const { timestamp } = envelope;
  const gapOf = (to) => ({ type: MessageType.GAP, payload: {}, timestamp, to, cursor: from[to] });
  return {
    envelope: { ...envelope, payload: { ...payload, cursors, ...isRecovered } },
    lost: lost.map(gapOf),
  };
}
