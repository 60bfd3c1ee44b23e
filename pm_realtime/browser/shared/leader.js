import { CloseCode, MessageType } from "../constants.js";
import { isOf, lowest, shortened } from "../core/cursors.js";
import { isOffline } from "../core/page.js";
import { openBufferedSocket } from "./buffered_socket.js";
import { createOwnStreams } from "./own_streams.js";
import { createRouter } from "./router.js";
import { createVolatile } from "./volatile.js";

/** The code with which a leader closes the socket if another tab is to go on with it. */
const HANDOVER_CODE = 4000;

/** All tabs ask for a new attempt when the network is back. The first one counts. */
const REOPEN_INTERVAL_MS = 500;

/** A page that is loaded anew is back by then, so that its member does not leave a room. */
const LEAVE_DELAY_MS = 10_000;

/** Stands before the ids of connections if none of them is this browser's own to take over. */
const NO_CONNECTION = "-";

/**
 * The tab that holds the real socket for all tabs, its own included.
 *
 * `post(message)` reaches every tab. `observeTab(tab, onGone)` tells when a tab died, and returns a
 * function that ends this. `onIdle()` comes when the last tab has left. `socket` is open already, or
 * null: then a new one goes on from the lowest positions of the tabs. `fencing` lets it act only
 * while it is the leader. `goingAway` says if it may open the next socket before the tabs hear of the
 * end of the last one.
 */
export function createLeader({ id, endpoint, socket = null, ...hooks }) {
  const { post, observeTab, onIdle, fencing, goingAway } = hooks;
  // `position`: from where the tab goes on, until it is told where the connection is. `closed`: the
  // tab was told that the socket closed, and is about to leave.
  const tabs = new Map();
  const own = createOwnStreams();
  // The ids of the former connections of all tabs, newest first, and their user.
  let ids = [];
  let user;
  let router = createRouter();
  let volatile = createVolatile(router);
  let connected = null;
  let connectedAt = 0;
  let listening = false;
  let reopenedAt = -Infinity;
  // Messages that came while the socket is suspect.
  let held = [];
  // By name, the timers of rooms that are left if no tab comes back.
  const leaving = new Map();

  const say = (kind, details = {}) => post({ kind, leader: id, ...details });

  const listener = fenced({
    onConnected(envelope) {
      const { connectionId, cursors, userId } = envelope.payload ?? {};
      connected = envelope;
      connectedAt = Date.now();
      user = String(userId ?? "");
      ids = shortened([connectionId, ...ids.filter((each) => each !== NO_CONNECTION)]);
      for (const tab of tabs.values()) tab.position = ofUser(tab.position);
      own.start(cursors, socket.since);
      if (![...tabs.values()].every(({ position }) => own.covers(position?.since))) {
        goBack();
        return;
      }
      router = createRouter();
      volatile = createVolatile(router, userId);
      const to = [...tabs.keys()].filter((tab) => !tabs.get(tab).closed);
      for (const tab of tabs.values()) tab.position = null;
      say("open", { to, envelope, ...own.opened });
      // For tabs that have no part in a socket at the moment.
      say("up");
    },
    onFrame(envelope) {
      own.note(envelope);
      (volatile.frame(envelope) ?? router.frame(envelope)).forEach(perform);
    },
    onHealthy() {
      const messages = held;
      held = [];
      messages.forEach(take);
      say("healthy", { to: null });
    },
    onClose(code, reason, error) {
      const lived = connected ? Date.now() - connectedAt : 0;
      forgetSocket();
      if (goingAway.delay(code, lived) === 0 && !error && !isOffline()) {
        listen();
        return;
      }
      for (const tab of tabs.values()) tab.closed = true;
      // The error may concern this page alone, so the others are not told of it.
      const others = [...tabs.keys()].filter((tab) => tab !== id);
      say("close", { to: others, code, reason });
      if (tabs.has(id)) say("close", { to: [id], code, reason, error });
    },
  });

  function fenced({ onClose, ...rest }) {
    const all = {
      onClose(...why) {
        // The server closes the socket of a leader that another tab has replaced.
        fencing.recheck();
        fencing.run(() => onClose(...why));
      },
    };
    for (const [name, hook] of Object.entries(rest)) {
      all[name] = (...details) => fencing.run(() => hook(...details));
    }
    return all;
  }

  function forgetSocket() {
    socket = null;
    listening = false;
    connected = null;
    held = [];
  }

  function perform({ send, to, except, envelope, later }) {
    if (send) socket.send(send);
    else if (later !== undefined) leaveLater(later);
    else if (except) say("frame", { to: [...tabs.keys()].filter((tab) => tab !== except), envelope });
    else say("frame", { to, envelope });
  }

  function leaveLater(room) {
    clearTimeout(leaving.get(room));
    const letGo = () => {
      leaving.delete(room);
      if (connected) router.letGo(room).forEach(perform);
    };
    leaving.set(room, setTimeout(() => fencing.run(letGo), LEAVE_DELAY_MS));
  }

  function join({ from: tab, position, onlyFollows }) {
    const onGone = () => fencing.run(() => leave(tab));
    if (!tabs.has(tab)) tabs.set(tab, { stopObserving: observeTab(tab, onGone) });
    // A tab that slept has not heard that the last socket closed, and goes on with the next one.
    Object.assign(tabs.get(tab), { closed: false, position: connected ? ofUser(position) : position });
    user ??= position.user;
    ids.push(...position.ids.filter((each) => !ids.includes(each) && isFirstOr(each)));
    say("here", { to: [tab] });
    if (connected) open(tab);
    else if (!listening && onlyFollows) {
      tabs.get(tab).closed = true;
      say("close", { to: [tab], code: CloseCode.REPLACED, reason: "" });
    } else if (!listening) {
      // Only now there is a tab for the frames that came so far.
      listen();
    }
  }

  /** The position if it is one of this user: those of others say nothing. */
  const ofUser = (position) => (isOf(user, position ?? {}) ? position : { ids: [] });

  const isFirstOr = (each) => ids.length === 0 || each !== NO_CONNECTION;

  /** Tells a tab that joins late of the connection, and what it missed. */
  function open(tab) {
    const { position } = tabs.get(tab);
    if (!own.covers(position.since)) {
      goBack();
      return;
    }
    tabs.get(tab).position = null;
    const { from, missed } = own.join(position.since);
    say("open", { to: [tab], envelope: connected, from });
    for (const envelope of missed) say("frame", { to: [tab], envelope });
  }

  /** The next connection gives again what a tab missed and the server alone has. */
  function goBack() {
    socket.listen(null);
    socket.close(HANDOVER_CODE);
    forgetSocket();
    listen();
  }

  /** From where a new connection goes on: `last` is where the present one and its tabs are. */
  function readPosition() {
    const all = [own.last, ...[...tabs.values()].map(({ position }) => position?.since ?? {})];
    const since = lowest(all);
    return { ids, user, since: Object.keys(since).length > 0 ? since : undefined };
  }

  function listen() {
    listening = true;
    socket ??= openBufferedSocket({ ...endpoint, readPosition });
    socket.listen(listener);
  }

  function leave(tab) {
    tabs.get(tab)?.stopObserving();
    if (!tabs.delete(tab)) return;
    if (connected) router.leave(tab).forEach(perform);
    if (tabs.size === 0) onIdle();
  }

  function take(message) {
    const { from, number, envelope } = message;
    if (!connected || !tabs.has(from)) return;
    if (!socket.healthy && envelope.type !== MessageType.SUBSCRIBE) {
      held.push(message);
      say("here", { to: [from] });
      return;
    }
    // Before the effects, so that the tab hears of it before the reply.
    say("took", { to: [from], number });
    router.command(from, envelope).forEach(perform);
  }

  /** A volatile message that cannot be sent now is worth nothing later. */
  function takeVolatile({ from, envelope }) {
    if (!connected || !tabs.has(from) || !socket.healthy) return;
    volatile.command(from, envelope).forEach(perform);
  }

  function check({ from, woken }) {
    socket?.suspect(woken);
    if (socket?.healthy) say("healthy", { to: [from] });
  }

  function reopen() {
    if (Date.now() - reopenedAt < REOPEN_INTERVAL_MS) return;
    reopenedAt = Date.now();
    socket?.reopen();
  }

  function receive(message) {
    const { kind, from, to } = message;
    if (kind === "join") join(message);
    else if (kind === "leave") leave(from);
    else if (kind === "check") check(message);
    else if (kind === "reopen") reopen();
    else if (kind === "send" && to === id) take(message);
    else if (kind === "volatile" && to === id) takeVolatile(message);
    else if (kind === "ask" && (to === id || to === null)) say("here", { to: [from] });
  }

  say("leader");

  return {
    receive: (message) => fencing.run(() => receive(message)),

    /** Gives up the socket. */
    stop() {
      const code = tabs.size > 0 ? HANDOVER_CODE : undefined;
      for (const { stopObserving } of tabs.values()) stopObserving();
      leaving.forEach(clearTimeout);
      tabs.clear();
      socket?.listen(null);
      socket?.close(code);
      socket = null;
      connected = null;
    },
  };
}
