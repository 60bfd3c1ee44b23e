import { CloseCode } from "../constants.js";
import { createGoingAway, GOING_AWAY } from "../core/going_away.js";
import { newId } from "../core/envelope.js";
import { createBus } from "./bus.js";
import { createFencing } from "./fencing.js";
import { createFollower } from "./follower.js";
import { createLeader } from "./leader.js";
import { createLiveness } from "./liveness.js";
import { requestLock } from "./locks.js";

// By page: a server that sends this code again and again may see one leader after another.
const goneAway = new WeakMap();

/**
 * One of the tabs that share the socket `name`: always a follower, and the leader as well while it
 * holds the leader's lock.
 *
 * `socket` is open already. It is used if no tab is the leader, and closed otherwise. Then `done()`
 * is called. `page` is the window.
 */
export function createTab(options, page) {
  const { name, endpoint, userId, readPosition, onlyFollows } = options;
  const { onConnected, onFrame, onHealthy, onEnd, onDenied } = options;
  const id = newId();
  const { locks } = page.navigator;
  const lockOf = (tab) => `${name} tab ${tab}`;
  const leaderLock = `${name} leader`;
  const goingAway = goneAway.get(page) ?? createGoingAway();
  goneAway.set(page, goingAway);
  let { socket = null, done } = options;
  let leader = null;
  let leadership = null;
  let fencing = null;
  // The term of the newest leader. Each leader takes a higher one than all it knows.
  let term = 0;
  let frozen = false;
  // The client has left, but this tab may still hold the socket for the others.
  let left = false;
  let over = false;

  const bus = createBus({ name, self: id, BroadcastChannel: page.BroadcastChannel, receive });
  const hooks = { onConnected, onFrame, onHealthy, onEnd: finish };
  const follower = createFollower({ id, userId, readPosition, onlyFollows, post, ...hooks });
  const liveness = createLiveness({
    ask: () => bus.post({ kind: "ask", from: id, to: follower.leader }),
    isObserving: () => leader === null && page.document?.visibilityState !== "hidden",
    onSilence: () => compete({ steal: true }),
  });
  // Held before any tab hears of this one: the leader that waits for it must not get it too early.
  const life = requestLock(locks, lockOf(id), { onGranted: enter, onDenied: giveUp });
  const listeners = { freeze, resume, pagehide: end };
  for (const [type, listener] of Object.entries(listeners)) {
    page.addEventListener?.(type, listener, true);
  }

  function enter() {
    if (socket) compete({ ifAvailable: true, onRefused: queue });
    else queue();
    follower.join();
  }

  function queue() {
    dropSocket();
    compete();
  }

  function dropSocket() {
    socket?.close();
    socket = null;
    done?.();
  }

  /** Asks for the leader's lock. */
  function compete(lockOptions = {}) {
    stopLeading();
    leadership?.release();
    leadership = requestLock(locks, leaderLock, {
      onGranted: win,
      onLost: depose,
      onDenied: giveUp,
      ...lockOptions,
    });
  }

  /** Says if this tab has the leader's lock. A browser that cannot tell still reports its loss. */
  async function isLeader() {
    try {
      const { held } = await locks.query();
      const clientOf = (lock) => held.find((each) => each.name === lock)?.clientId;
      return clientOf(leaderLock) === clientOf(lockOf(id));
    } catch {
      return true;
    }
  }

  /** The lock was granted; if this page hung, long ago. */
  function win() {
    if (follower.onlyFollows) {
      finish(CloseCode.REPLACED, "");
      return;
    }
    fencing = createFencing({ isLeader, onLost: depose, onWon: renew });
    fencing.recheck();
    fencing.run(lead);
  }

  /** Makes all tabs follow this one, which has the lock, and not one that has lost it. */
  function renew() {
    stopLeading();
    win();
  }

  function lead() {
    const observeTab = (tab, onGone) => {
      const { release } = requestLock(locks, lockOf(tab), {
        onGranted() {
          release();
          onGone();
        },
      });
      return release;
    };
    liveness.seen();
    // The clock helps if this tab does not know all leaders.
    term = Math.max(term + 1, Date.now());
    const ownTerm = term;
    const say = (message) => bus.post({ ...message, term: ownTerm });
    const leaderHooks = { post: say, observeTab, onIdle };
    leader = createLeader({ id, endpoint, socket, fencing, goingAway, ...leaderHooks });
    socket = null;
    done?.();
  }

  function post(message) {
    bus.post(message);
    if (message.kind === "join" || message.kind === "send") liveness.expect();
  }

  function receive(message) {
    if (message.leader) follow(message);
    else leader?.receive(message);
    if (leader) liveness.seen();
  }

  /** Handles a message of a leader. */
  function follow(message) {
    // That leader has been replaced and does not know it yet.
    if (message.term < term) return;
    term = message.term;
    if (message.leader !== id) {
      liveness.seen();
      if (leader) fencing.contest();
      // That leader has taken its socket up again often enough for all.
      if (message.kind === "close" && message.code === GOING_AWAY) goingAway.spend();
    }
    if (!left) follower.receive(message);
  }

  /** Gives up the socket, if this tab has it. */
  function stopLeading() {
    fencing?.stop();
    leader?.stop();
    leader = null;
    // It may already follow the next leader.
    if (frozen || follower.leader === id) follower.loseLeader();
  }

  /** Another tab took the lock, because this one did not answer in time. */
  function depose() {
    if (left) end();
    else queue();
  }

  function onIdle() {
    if (left) end();
  }

  function finish(code, reason, error) {
    leave();
    onEnd(code, reason, error);
  }

  function giveUp() {
    const wanted = !left;
    end();
    if (wanted) onDenied();
  }

  function leave() {
    if (left) return;
    left = true;
    liveness.stop();
    bus.post({ kind: "leave", from: id });
    // A leader stays until the last tab has left.
    if (!leader) end();
  }

  function freeze() {
    frozen = true;
    stopLeading();
    leadership?.release();
    liveness.pause();
    if (left) end();
  }

  function resume() {
    if (!frozen) return;
    frozen = false;
    liveness.resume();
    compete();
    follower.join();
  }

  function end() {
    if (over) return;
    over = true;
    if (!left) bus.post({ kind: "leave", from: id });
    left = true;
    for (const [type, listener] of Object.entries(listeners)) {
      page.removeEventListener?.(type, listener, true);
    }
    liveness.stop();
    stopLeading();
    dropSocket();
    leadership?.release();
    life.release();
    bus.close();
  }

  return {
    send: follower.send,
    close: leave,

    /** Asks the server and the leader if they are there. */
    suspect(woken) {
      if (over || frozen) return;
      follower.suspect();
      bus.post({ kind: "check", from: id, woken });
      liveness.probe();
    },

    reopen: () => bus.post({ kind: "reopen", from: id }),
  };
}
