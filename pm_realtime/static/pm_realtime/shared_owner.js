import { MessageType } from "./constants.js";
import { createLedger } from "./shared_ledger.js";
import { openLink } from "./shared_link.js";

/**
 * The tab that holds the real socket, for all tabs of its group, its own among them.
 *
 * `post(message)` reaches every tab; `watch(tab, onGone)` tells when one died without a word and
 * gives what ends that; `onIdle()` comes when the last tab has left. `link` is a socket that is
 * open already, or null.
 */
export function createOwner({ id, place, link = null, post, watch, onIdle }) {
  // `closed`: it was told that the socket closed, and is on its way out.
  const tabs = new Map();
  // Messages that came a second time, from a tab whose first owner may have sent them already.
  const repeated = new Set();
  let ledger = createLedger();
  let connected = null;
  let listening = false;
  // What came while it is in doubt whether the server is there.
  let held = [];

  const say = (kind, details = {}) => post({ kind, owner: id, ...details });

  const listener = {
    onConnected(envelope) {
      connected = envelope;
      ledger = createLedger();
      const to = [...tabs.keys()].filter((tab) => !tabs.get(tab).closed);
      if (to.length) say("open", { to, envelope });
    },
    onFrame(envelope) {
      if (envelope !== connected) ledger.frame(envelope).forEach(perform);
    },
    onReady() {
      const messages = held;
      held = [];
      messages.forEach(take);
      say("sure", { to: null });
    },
    onClose(code, reason) {
      link = null;
      listening = false;
      connected = null;
      held = [];
      for (const tab of tabs.values()) tab.closed = true;
      say("close", { to: [...tabs.keys()], code, reason });
    },
  };

  function perform({ send, to, envelope }) {
    if (send) link.send(send);
    else say("frame", { to, envelope, again: repeated.has(envelope.id) });
  }

  function join(tab) {
    if (!tabs.has(tab)) tabs.set(tab, { closed: false, unwatch: watch(tab, () => leave(tab)) });
    say("here", { to: [tab] });
    if (connected) {
      say("open", { to: [tab], envelope: connected });
    } else if (!listening) {
      // Not before there is a tab to hear what came so far.
      listening = true;
      link ??= openLink(place);
      link.listen(listener);
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

  function check({ from, woken }) {
    link?.doubt(woken);
    if (link?.sure) say("sure", { to: [from] });
  }

  say("owner");

  return {
    receive(message) {
      const { kind, from, to } = message;
      if (kind === "join") join(from);
      else if (kind === "leave") leave(from);
      else if (kind === "check") check(message);
      else if (kind === "send" && to === id) take(message);
      else if (kind === "ask" && (to === id || to === null)) say("here", { to: [from] });
    },

    /** Gives the socket up. */
    stop() {
      for (const { unwatch } of tabs.values()) unwatch();
      tabs.clear();
      link?.listen(null);
      link?.close();
      link = null;
      connected = null;
    },
  };
}
