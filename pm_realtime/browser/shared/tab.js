import { newId } from "../core/envelope.js";
import { createBus } from "./bus.js";
import { createGuard } from "./fencing.js";
import { requestLock } from "./locks.js";
import { createMember } from "./follower.js";
import { createOwner } from "./leader.js";
import { createWatch } from "./liveness.js";

/**
 * One tab in the group `name`: a member of it, and its owner when the lock comes to this tab.
 *
 * `link` is an open socket to be used where nobody is the owner, else closed; `done()` comes when
 * that is settled. `page` is the window.
 */
export function takeSeat(options, page) {
  const { name, place, userId, past, onConnected, onFrame, onReady, onEnd, onDenied } = options;
  const id = newId();
  const { locks } = page.navigator;
  const nameOf = (tab) => `${name} tab ${tab}`;
  const ownerName = `${name} owner`;
  let { link = null, done } = options;
  let owner = null;
  let ownership = null;
  let guard = null;
  // That of the newest owner: each takes a higher one than all it heard of.
  let term = 0;
  let frozen = false;
  // `left`: this tab wants no more of it, but may still hold the socket for the others.
  let left = false;
  let over = false;

  const bus = createBus({ name, self: id, BroadcastChannel: page.BroadcastChannel, receive });
  const hooks = { onConnected, onFrame, onReady, onEnd: finish };
  const member = createMember({ id, userId, past, post, ...hooks });
  const watch = createWatch({
    ask: () => bus.post({ kind: "ask", from: id, to: member.owner }),
    isSeen: () => owner === null && page.document?.visibilityState !== "hidden",
    onSilence: () => compete({ steal: true }),
  });
  // Held before anyone hears of this tab: who waits for it must not get it too early.
  const life = requestLock(locks, nameOf(id), { onGranted: enter, onDenied: giveUp });
  const listeners = { freeze, resume, pagehide: end };
  for (const [type, listener] of Object.entries(listeners)) {
    page.addEventListener?.(type, listener, true);
  }

  function enter() {
    if (link) compete({ ifAvailable: true, onRefused: queue });
    else queue();
    member.join();
  }

  function queue() {
    dropLink();
    compete();
  }

  function dropLink() {
    link?.close();
    link = null;
    done?.();
  }

  /** Asks for the lock that makes the owner. */
  function compete(options = {}) {
    yieldSocket();
    ownership?.release();
    ownership = requestLock(locks, ownerName, {
      onGranted: take,
      onLost: depose,
      onDenied: giveUp,
      ...options,
    });
  }

  /** Whether the lock is this tab's; where nobody says so, its loss is heard of all the same. */
  async function isOwner() {
    try {
      const { held } = await locks.query();
      const holderOf = (lock) => held.find((each) => each.name === lock)?.clientId;
      return holderOf(ownerName) === holderOf(nameOf(id));
    } catch {
      return true;
    }
  }

  /** The lock has come, maybe long ago if this page hung. */
  function take() {
    guard = createGuard({ isOwner, onLost: depose, onWon: renew });
    guard.doubt();
    guard.pass(own);
  }

  /** Makes all follow this tab, which has the lock, and not the one that took itself for the owner. */
  function renew() {
    yieldSocket();
    take();
  }

  function own() {
    const watchTab = (tab, onGone) => {
      const { release } = requestLock(locks, nameOf(tab), {
        onGranted() {
          release();
          onGone();
        },
      });
      return release;
    };
    watch.sign();
    const { bookmark } = member.past;
    // The clock helps where not all owners were heard of.
    term = Math.max(term + 1, Date.now());
    const mine = term;
    const say = (message) => bus.post({ ...message, term: mine });
    const hooks = { post: say, watch: watchTab, onIdle };
    owner = createOwner({ id, place, link, bookmark, guard, ...hooks });
    link = null;
    done?.();
  }

  function post(message) {
    bus.post(message);
    if (message.kind === "join" || message.kind === "send") watch.expect();
  }

  function receive(message) {
    if (message.owner) hear(message);
    else owner?.receive(message);
    if (owner) watch.sign();
  }

  /** What an owner says. */
  function hear(message) {
    // Another has replaced it, and it does not know yet.
    if (message.term < term) return;
    term = message.term;
    if (message.owner !== id) {
      watch.sign();
      if (owner) guard.contest();
    }
    if (!left) member.receive(message);
  }

  /** Gives the socket up, where this tab has it. */
  function yieldSocket() {
    guard?.stop();
    owner?.stop();
    owner = null;
    // It may follow the next owner already.
    if (frozen || member.owner === id) member.orphan();
  }

  /** Another took the lock: this tab did not answer in time. */
  function depose() {
    if (left) end();
    else queue();
  }

  function onIdle() {
    if (left) end();
  }

  function finish(code, reason, error) {
    leave();
    onEnd(code, reason, error, member.past);
  }

  function giveUp() {
    const wanted = !left;
    end();
    if (wanted) onDenied();
  }

  function leave() {
    if (left) return;
    left = true;
    watch.stop();
    bus.post({ kind: "leave", from: id });
    // The owner leaves with the last tab it has the socket for.
    if (!owner) end();
  }

  function freeze() {
    frozen = true;
    yieldSocket();
    ownership?.release();
    watch.pause();
    if (left) end();
  }

  function resume() {
    if (!frozen) return;
    frozen = false;
    watch.resume();
    compete();
    member.join();
  }

  function end() {
    if (over) return;
    over = true;
    if (!left) bus.post({ kind: "leave", from: id });
    left = true;
    for (const [type, listener] of Object.entries(listeners)) {
      page.removeEventListener?.(type, listener, true);
    }
    watch.stop();
    yieldSocket();
    dropLink();
    ownership?.release();
    life.release();
    bus.close();
  }

  return {
    send: member.send,
    close: leave,

    /** Asks for a sign of life, of the server and of the owner. */
    doubt(woken) {
      if (over || frozen) return;
      member.doubt();
      bus.post({ kind: "check", from: id, woken });
      watch.inquire();
    },
  };
}
