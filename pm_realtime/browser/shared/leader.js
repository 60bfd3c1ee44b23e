import { MessageType } from "../constants.js";
import { createLedger } from "./router.js";
import { openLink } from "./buffered_socket.js";
import { afresh } from "./follower.js";

/** How long what comes on a new socket is kept for tabs that are slow to join it, in ms. */
export const KEPT_FOR = 5_000;

/** The code with which a tab closes the socket when another is to go on with it. */
export const HANDED_OVER = 4000;

/**
 * The tab that holds the real socket, for all tabs of its group, its own among them.
 *
 * `post(message)` reaches every tab; `watch(tab, onGone)` tells when one died without a word and
 * gives what ends that; `onIdle()` comes when the last tab has left. `link` is a socket that is
 * open already, or null; another goes on from `bookmark`. `guard` lets it act while it is the owner.
 */
export function createOwner({ id, place, link = null, bookmark = [], guard, ...hooks }) {
  const { post, watch, onIdle } = hooks;
  // `closed`: it was told that the socket closed, and is on its way out.
  const tabs = new Map();
  // Messages that came a second time, from a tab whose first owner may have sent them already.
  const repeated = new Set();
  let ledger = createLedger();
  let connected = null;
  let connectedAt = 0;
  let listening = false;
  // What came for rooms and for all, as long as it may be wanted by a tab on its way here.
  let recent = [];
  let read = bookmark;
  // What came while it is in doubt whether the server is there.
  let held = [];

  const say = (kind, details = {}) => post({ kind, owner: id, ...details });

  const listener = guarded({
    onConnected(envelope) {
      connected = envelope;
      connectedAt = Date.now();
      recent = [];
      ledger = createLedger();
      const to = [...tabs.keys()].filter((tab) => !tabs.get(tab).closed);
      for (const tab of to) ledger.await(tab, tabs.get(tab).rooms ?? []);
      say("open", { to, envelope });
      // For those on no socket.
      say("up");
    },
    onFrame(envelope, at) {
      read = at;
      ledger.frame(envelope).forEach(perform);
    },
    onReady() {
      const messages = held;
      held = [];
      messages.forEach(take);
      say("sure", { to: null });
    },
    onClose(code, reason, error) {
      link = null;
      listening = false;
      connected = null;
      held = [];
      for (const tab of tabs.values()) tab.closed = true;
      // What keeps this page from a socket may not hold for the others.
      const others = [...tabs.keys()].filter((tab) => tab !== id);
      say("close", { to: others, code, reason });
      if (tabs.has(id)) say("close", { to: [id], code, reason, error });
    },
  });

  function guarded({ onClose, ...rest }) {
    const all = {
      onClose(...why) {
        // The server closes the socket of an owner that another has replaced.
        guard.doubt();
        guard.pass(() => onClose(...why));
      },
    };
    for (const [name, hook] of Object.entries(rest)) {
      all[name] = (...details) => guard.pass(() => hook(...details));
    }
    return all;
  }

  function perform({ send, to, envelope }) {
    if (send) {
      link.send(send);
      return;
    }
    const frame = { envelope, again: repeated.has(envelope.id) };
    say("frame", { to, read, ...frame });
    if (Date.now() - connectedAt > KEPT_FOR) recent = [];
    else if (to === null || envelope.room !== undefined) recent.push(frame);
  }

  /** `rooms` are those that the tab was in on the last socket; null where it was on none. */
  function join(tab, rooms) {
    const isNew = !tabs.has(tab);
    const onGone = () => guard.pass(() => leave(tab));
    if (isNew) tabs.set(tab, { closed: false, rooms, unwatch: watch(tab, onGone) });
    say("here", { to: [tab] });
    if (connected) {
      ledger.await(tab, rooms ?? []);
      const late = Date.now() - connectedAt > KEPT_FOR;
      say("open", { to: [tab], envelope: late ? afresh(connected) : connected });
      if (isNew && rooms) catchUp(tab, rooms);
    } else if (!listening) {
      // Not before there is a tab to hear what came so far.
      listening = true;
      link ??= openLink(place, read);
      link.listen(listener);
    }
  }

  function catchUp(tab, rooms) {
    if (Date.now() - connectedAt > KEPT_FOR) return;
    for (const { envelope, again } of recent) {
      const isFor = envelope.room === undefined || rooms.includes(envelope.room);
      if (isFor) say("frame", { to: [tab], read, envelope, again });
    }
  }

  function leave(tab) {
    tabs.get(tab)?.unwatch();
    if (!tabs.delete(tab)) return;
    if (connected) ledger.leave(tab).forEach(perform);
    if (tabs.size === 0) onIdle();
  }

  function take(message) {
    const { from, number, envelope, again } = message;
    if (!connected || !tabs.has(from)) return;
    if (!link.sure && envelope.type !== MessageType.SUBSCRIBE) {
      held.push(message);
      say("here", { to: [from] });
      return;
    }
    if (again) repeated.add(envelope.id);
    // First, so that it comes before the reply.
    say("took", { to: [from], number });
    ledger.command(from, envelope).forEach(perform);
  }

  function settle(tab) {
    if (connected) ledger.settle(tab).forEach(perform);
  }

  function check({ from, woken }) {
    link?.doubt(woken);
    if (link?.sure) say("sure", { to: [from] });
  }

  function receive(message) {
    const { kind, from, to } = message;
    if (kind === "join") join(from, message.rooms);
    else if (kind === "leave") leave(from);
    else if (kind === "check") check(message);
    else if (kind === "settled" && to === id) settle(from);
    else if (kind === "send" && to === id) take(message);
    else if (kind === "ask" && (to === id || to === null)) say("here", { to: [from] });
  }

  say("owner");

  return {
    receive: (message) => guard.pass(() => receive(message)),

    /** Gives the socket up. */
    stop() {
      const code = tabs.size > 0 ? HANDED_OVER : undefined;
      for (const { unwatch } of tabs.values()) unwatch();
      tabs.clear();
      link?.listen(null);
      link?.close(code);
      link = null;
      connected = null;
    },
  };
}
