import { CloseCode, MessageType } from "../constants.js";
import { isOffline } from "../core/page.js";
import { openBufferedSocket } from "./buffered_socket.js";
import { withoutResumed } from "./follower.js";
import { createRouter } from "./router.js";

/** How long the frames of a new socket are kept for tabs that join it late. */
const KEEP_FRAMES_MS = 5_000;

/** The code with which a leader closes the socket if another tab is to go on with it. */
const HANDOVER_CODE = 4000;

/** All tabs ask for a new attempt when the network is back. The first one counts. */
const REOPEN_INTERVAL_MS = 500;

/**
 * The tab that holds the real socket for all tabs, its own included.
 *
 * `post(message)` reaches every tab. `observeTab(tab, onGone)` tells when a tab died, and returns a
 * function that ends this. `onIdle()` comes when the last tab has left. `socket` is open already, or
 * null: then a new one resumes `position`. `fencing` lets it act only while it is the leader.
 * `goingAway` says if it may open the next socket before the tabs hear of the end of the last one.
 */
export function createLeader({ id, endpoint, socket = null, position = [], ...hooks }) {
  const { post, observeTab, onIdle, fencing, goingAway } = hooks;
  // `closed`: the tab was told that the socket closed, and is about to leave.
  const tabs = new Map();
  // The ids of messages that came again, because the last leader may have sent them already.
  const repeated = new Set();
  let router = createRouter();
  let connected = null;
  let connectedAt = 0;
  let listening = false;
  let reopenedAt = -Infinity;
  // Frames for rooms and for all tabs, as long as a tab that joins may need them.
  let recent = [];
  // Messages that came while the socket is suspect.
  let held = [];

  const say = (kind, details = {}) => post({ kind, leader: id, ...details });

  const listener = fenced({
    onConnected(envelope) {
      connected = envelope;
      connectedAt = Date.now();
      recent = [];
      router = createRouter();
      const to = [...tabs.keys()].filter((tab) => !tabs.get(tab).closed);
      for (const tab of to) router.expectRooms(tab, tabs.get(tab).rooms ?? []);
      say("open", { to, envelope });
      // For tabs that have no part in a socket at the moment.
      say("up");
    },
    onFrame(envelope, at) {
      position = at;
      router.frame(envelope).forEach(perform);
    },
    onHealthy() {
      const messages = held;
      held = [];
      messages.forEach(take);
      say("healthy", { to: null });
    },
    onClose(code, reason, error) {
      const lived = connected ? Date.now() - connectedAt : 0;
      socket = null;
      listening = false;
      connected = null;
      held = [];
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

  function perform({ send, to, envelope }) {
    if (send) {
      socket.send(send);
      return;
    }
    const frame = { envelope, again: repeated.has(envelope.id) };
    say("frame", { to, position, ...frame });
    if (Date.now() - connectedAt > KEEP_FRAMES_MS) recent = [];
    else if (to === null || envelope.room !== undefined) recent.push(frame);
  }

  /** `rooms`: those that the tab was in on the last socket; null if it was on none. */
  function join({ from: tab, rooms, onlyFollows }) {
    const isNew = !tabs.has(tab);
    const onGone = () => fencing.run(() => leave(tab));
    if (isNew) tabs.set(tab, { closed: false, rooms, stopObserving: observeTab(tab, onGone) });
    say("here", { to: [tab] });
    if (connected) {
      router.expectRooms(tab, rooms ?? []);
      const late = Date.now() - connectedAt > KEEP_FRAMES_MS;
      say("open", { to: [tab], envelope: late ? withoutResumed(connected) : connected });
      if (isNew && rooms) catchUp(tab, rooms);
    } else if (!listening && onlyFollows) {
      tabs.get(tab).closed = true;
      say("close", { to: [tab], code: CloseCode.REPLACED, reason: "" });
    } else if (!listening) {
      // Only now there is a tab for the frames that came so far.
      listen();
    }
  }

  function listen() {
    listening = true;
    socket ??= openBufferedSocket(endpoint, position);
    socket.listen(listener);
  }

  function catchUp(tab, rooms) {
    if (Date.now() - connectedAt > KEEP_FRAMES_MS) return;
    for (const { envelope, again } of recent) {
      const isFor = envelope.room === undefined || rooms.includes(envelope.room);
      if (isFor) say("frame", { to: [tab], position, envelope, again });
    }
  }

  function leave(tab) {
    tabs.get(tab)?.stopObserving();
    if (!tabs.delete(tab)) return;
    if (connected) router.leave(tab).forEach(perform);
    if (tabs.size === 0) onIdle();
  }

  function take(message) {
    const { from, number, envelope, again } = message;
    if (!connected || !tabs.has(from)) return;
    if (!socket.healthy && envelope.type !== MessageType.SUBSCRIBE) {
      held.push(message);
      say("here", { to: [from] });
      return;
    }
    if (again) repeated.add(envelope.id);
    // Before the effects, so that the tab hears of it before the reply.
    say("took", { to: [from], number });
    router.command(from, envelope).forEach(perform);
  }

  function settle(tab) {
    if (connected) router.settle(tab).forEach(perform);
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
    else if (kind === "settled" && to === id) settle(from);
    else if (kind === "send" && to === id) take(message);
    else if (kind === "ask" && (to === id || to === null)) say("here", { to: [from] });
  }

  say("leader");

  return {
    receive: (message) => fencing.run(() => receive(message)),

    /** Gives up the socket. */
    stop() {
      const code = tabs.size > 0 ? HANDOVER_CODE : undefined;
      for (const { stopObserving } of tabs.values()) stopObserving();
      tabs.clear();
      socket?.listen(null);
      socket?.close(code);
      socket = null;
      connected = null;
    },
  };
}
