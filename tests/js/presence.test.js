/** Who is in a room, as the client tells it to the page. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { STATE_INTERVAL_MS as INTERVAL_MS } from "../../pm_realtime/browser/core/presence_state.js";
import { fakeWebSocket, settled } from "./fake_socket.js";

const person = (key, more) => ({ key, userId: Number(key), info: { name: `User ${key}` }, since: Number(key), connections: 1, ...more });
const change = (prev, rev, more) => ({ room: "a", prev, rev, total: 2, joined: [], updated: [], left: [], ...more });
const picture = { rev: 5, total: 2, members: [person("8"), person("7")], me: "7" };

/** A connected client that is in room `a` of the server, with `picture`. */
function setup(t, options) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
  t.mock.method(Math, "random", () => 1);
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket, ...options });
  const presence = realtime.presence("a");
  const log = [];
  presence.on("join", ({ key }) => log.push(`join ${key}`));
  presence.on("leave", ({ key }) => log.push(`leave ${key}`));
  presence.on("change", (now) => {
    assert.equal(now, presence.store.getSnapshot());
    log.push(`change ${now.total}`);
  });
  const parts = {
    WebSocket,
    realtime,
    presence,
    log,
    tick: (ms) => t.mock.timers.tick(ms),
    accept: (payload) => WebSocket.last.accept({ heartbeatInterval: 0, ...payload }),
    tell: (payload) => WebSocket.last.frame("presence", payload),
    sent: () => WebSocket.last.sentOf("presence").map(({ payload }) => payload),
    answer(payload, type = "presence") {
      WebSocket.last.reply(WebSocket.last.sentOf("presence").at(-1), type, { room: "a", ...payload });
    },
    refuse(code, details) {
      WebSocket.last.refuse(WebSocket.last.sentOf("presence").at(-1), code, details);
    },
    grant(given = picture, room = "a") {
      const command = WebSocket.last.sentOf("subscribe").filter(({ payload }) => payload.room === room).at(-1);
      WebSocket.last.reply(command, "subscribed", { room, success: true, presence: given });
    },
    reconnect() {
      WebSocket.last.close();
      parts.tick(30_000);
      parts.accept();
    },
  };
  realtime.connect();
  parts.accept();
  return parts;
}

function joined(t, options) {
  const parts = setup(t, options);
  parts.realtime.subscribe("a");
  parts.grant();
  parts.log.length = 0;
  return parts;
}

const keys = ({ members }) => members.map(({ key }) => key);

test("a room has one object, which is empty before the room is joined", (t) => {
  const { WebSocket, realtime, presence } = setup(t);
  assert.equal(realtime.presence("a"), presence);
  assert.notEqual(realtime.presence("b"), presence);
  assert.equal(presence.room, "a");
  assert.deepEqual([presence.members, presence.total, presence.me], [[], 0, null]);
  assert.deepEqual(presence.store.getSnapshot(), { members: [], total: 0, me: null });
  assert.deepEqual(WebSocket.last.sent, [], "it does not subscribe");
});

test("joining a room shows its members by their arrival, without events for those that were there", async (t) => {
  const { realtime, presence, grant, log } = setup(t);
  const answer = realtime.subscribe("a");
  grant();
  assert.deepEqual(log, ["change 2"]);
  assert.deepEqual(keys(presence), ["7", "8"]);
  assert.deepEqual(presence.me, { ...person("7"), state: null });
  assert.deepEqual((await answer).payload.presence, picture);
});

test("an object that is asked for later has the members already", (t) => {
  const { realtime, grant } = setup(t);
  realtime.subscribe("b");
  grant(picture, "b");
  assert.equal(realtime.presence("b").total, 2);
});

test("changes become events, after the new members are shown", (t) => {
  const { presence, tell, log } = joined(t);
  let seen;
  presence.on("join", () => (seen = keys(presence)));
  tell(change(5, 6, { total: 3, joined: [person("9")], updated: [person("7", { connections: 2 })] }));
  assert.deepEqual(log.splice(0), ["join 9", "change 3"]);
  assert.deepEqual(seen, ["7", "8", "9"]);
  assert.equal(presence.me.connections, 2);
  tell(change(6, 7, { left: ["8", "unknown"] }));
  assert.deepEqual(log.splice(0), ["leave 8", "change 2"]);
  tell(change(7, 8, { updated: [person("9", { state: { typing: true } })] }));
  assert.deepEqual(log, ["change 2"]);
  assert.deepEqual(presence.members[1].state, { typing: true });
});

test("handlers of the message see the new members, and off() ends a handler", (t) => {
  const { realtime, presence, tell } = joined(t);
  const seen = [];
  realtime.on("presence", ({ payload }) => seen.push(payload.rev, presence.total));
  const off = presence.on("change", () => seen.push("change"));
  off();
  tell(change(5, 6, { total: 3, joined: [person("9")] }));
  assert.deepEqual(seen, [6, 3]);
  assert.throws(() => presence.on("join"), TypeError);
});

test("what does not change stays the same object", (t) => {
  const { presence, tell } = joined(t);
  const { members, me, store } = presence;
  const before = store.getSnapshot();
  tell(change(5, 6, { updated: [person("7")] }));
  assert.equal(store.getSnapshot(), before);
  tell(change(6, 7, { updated: [person("8", { connections: 2 })] }));
  assert.equal(presence.me, me);
  assert.notEqual(presence.members, members);
  assert.equal(members[1].connections, 1);
  assert.ok([presence, presence.members, presence.members[0], store.getSnapshot()].every(Object.isFrozen));
});

test("the store has subscribers", (t) => {
  const { presence, tell } = joined(t);
  const totals = [];
  const off = presence.store.subscribe(() => totals.push(presence.total));
  tell(change(5, 6, { total: 1, left: ["8"] }));
  off();
  tell(change(6, 7, { total: 0, left: ["7"] }));
  assert.deepEqual(totals, [1]);
});

test("a message that is old is ignored", (t) => {
  const { presence, tell, log, sent } = joined(t);
  for (const rev of [4, 5]) tell(change(3, rev, { left: ["7", "8"] }));
  assert.deepEqual([presence.total, log, sent()], [2, [], []]);
});

test("after a message that was missed, the server is asked, once at a time", (t) => {
  const { presence, tell, answer, log, sent } = joined(t);
  tell(change(6, 8, { left: ["8"] }));
  tell(change(8, 9, { left: ["7"] }));
  assert.deepEqual(sent(), [{ room: "a" }]);
  assert.deepEqual(keys(presence), ["7", "8"]);
  answer({ rev: 9, total: 2, members: [person("7"), person("9")], me: "7" });
  assert.deepEqual(log.splice(0), ["join 9", "leave 8", "change 2"]);
  tell(change(9, 10, { total: 1, left: ["9"] }));
  assert.deepEqual(log, ["leave 9", "change 1"]);
  tell(change(11, 12));
  assert.equal(sent().length, 2);
});

test("an answer and a change in one frame are applied in their order", (t) => {
  const { WebSocket, presence, tell } = joined(t);
  tell(change(6, 8));
  const [{ id }] = WebSocket.last.sentOf("presence");
  const frame = (payload, more) => ({ type: "presence", payload: { room: "a", ...payload }, timestamp: 1, ...more });
  WebSocket.last.text(JSON.stringify([
    frame({ rev: 9, total: 1, members: [person("7")] }, { id }),
    frame(change(9, 10, { joined: [person("9")] })),
  ]));
  assert.deepEqual(keys(presence), ["7", "9"]);
});

for (const [code, details, delay] of [
  ["RATE_LIMITED", { retryAfter: 3000 }, 3000],
  ["INTERNAL_ERROR", {}, 1000],
]) {
  test(`a question that is refused with ${code} is asked again later`, (t) => {
    const { tell, refuse, answer, presence, sent, tick } = joined(t);
    tell(change(6, 8));
    refuse(code, details);
    tell(change(8, 9));
    tick(delay - 1);
    assert.equal(sent().length, 1);
    tick(2000);
    assert.equal(sent().length, 2);
    answer({ rev: 9, total: 1, members: [person("7")] });
    assert.equal(presence.total, 1);
  });
}

test("a question that is refused for good is asked again at the next change", (t) => {
  const { tell, refuse, sent, tick } = joined(t);
  tell(change(6, 8));
  refuse("FORBIDDEN");
  tick(60_000);
  assert.equal(sent().length, 1);
  tell(change(8, 9));
  assert.equal(sent().length, 2);
});

test("a question is not asked again once the room is left or the connection lost", (t) => {
  for (const end of ["unsubscribe", "reconnect"]) {
    const { realtime, reconnect, tell, refuse, sent, tick, grant } = joined(t);
    tell(change(6, 8));
    refuse("INTERNAL_ERROR");
    if (end === "unsubscribe") {
      realtime.unsubscribe("a");
    } else {
      reconnect();
      grant();
    }
    const before = sent().length;
    tick(60_000);
    assert.equal(sent().length, before, end);
    realtime.disconnect();
    t.mock.timers.reset();
    t.mock.restoreAll();
  }
});

test("a message of more members than are told leaves the number, without events for the others", (t) => {
  const { presence, tell, log } = joined(t);
  tell({ room: "a", prev: 5, rev: 9, total: 300 });
  assert.deepEqual([presence.members, presence.total, presence.me], [[], 300, null]);
  tell({ room: "a", prev: 9, rev: 12, total: 2, members: [person("7"), person("9")] });
  assert.deepEqual([keys(presence), presence.me.key], [["7", "9"], "7"]);
  assert.deepEqual(log, ["change 300", "change 2"]);
});

test("a change for somebody who has no members is no change to apply", (t) => {
  const { realtime, grant, tell, sent } = setup(t);
  realtime.subscribe("a");
  grant({ rev: 5, total: 2 });
  tell(change(5, 6, { joined: [person("9")] }));
  assert.deepEqual(sent(), [{ room: "a" }]);
});

test("all members in a message take the place of what was told, and may say who is the own one", (t) => {
  const { presence, tell, log } = joined(t);
  tell({ room: "a", prev: 8, rev: 9, total: 2, members: [person("8"), person("9")], me: "8" });
  assert.deepEqual([keys(presence), presence.me.key, log], [["8", "9"], "8", ["join 9", "leave 7", "change 2"]]);
});

test("over a reconnect the members stay, and then only differences are told", (t) => {
  const { presence, reconnect, grant, log, tell } = joined(t);
  const before = presence.store.getSnapshot();
  reconnect();
  assert.equal(presence.store.getSnapshot(), before);
  tell(change(5, 6, { left: ["8"] }));
  assert.equal(presence.total, 2, "nothing is told before the answer");
  grant({ ...picture, rev: 100 });
  assert.deepEqual([presence.store.getSnapshot(), log], [before, []]);
  reconnect();
  grant({ rev: 200, total: 2, members: [person("7"), person("9")], me: "7" });
  assert.deepEqual(log, ["join 9", "leave 8", "change 2"]);
});

test("what a process tells counts at once, also if the one before had told more", (t) => {
  const { presence, reconnect, grant, tell, log } = joined(t);
  reconnect();
  grant({ rev: 3, total: 1, members: [person("7")], me: "7" });
  assert.deepEqual([keys(presence), log.splice(0)], [["7"], ["leave 8", "change 1"]]);
  tell(change(3, 4, { joined: [person("9")] }));
  assert.deepEqual([keys(presence), log], [["7", "9"], ["join 9", "change 2"]]);
});

for (const [end, stop] of [
  ["disconnect()", ({ realtime }) => realtime.disconnect()],
  ["a logout", ({ WebSocket }) => WebSocket.last.close(4501)],
]) {
  test(`after ${end} nobody is shown until the room is joined again`, (t) => {
    const parts = joined(t);
    const { realtime, presence, log, accept, grant } = parts;
    stop(parts);
    assert.deepEqual([presence.members, presence.total, presence.me, log.splice(0)], [[], 0, null, ["change 0"]]);
    realtime.connect();
    accept();
    grant();
    assert.deepEqual([keys(presence), log], [["7", "8"], ["change 2"]]);
  });
}

for (const [end, leave] of [
  ["unsubscribe()", ({ realtime }) => realtime.unsubscribe("a")],
  ["the server", ({ WebSocket }) => WebSocket.last.frame("unsubscribed", { room: "a", success: true, reason: "forbidden" })],
  ["a refusal after a reconnect", ({ WebSocket, reconnect }) => {
    reconnect();
    WebSocket.last.refuse(WebSocket.last.sentOf("subscribe").at(-1), "FORBIDDEN");
  }],
  ["an answer without presence", ({ reconnect, grant }) => {
    reconnect();
    grant(undefined);
  }],
]) {
  test(`the members are gone if the page is out of the room by ${end}`, (t) => {
    const parts = joined(t);
    const { presence, log, tell } = parts;
    // A default of `grant` would be used for undefined.
    leave({ ...parts, grant: () => parts.grant(null) });
    assert.deepEqual([presence.members, presence.total, presence.me, log], [[], 0, null, ["change 0"]]);
    tell(change(5, 6, { joined: [person("9")] }));
    assert.equal(presence.total, 0);
  });
}

test("one of two subscriptions may leave", async (t) => {
  const { realtime, presence } = joined(t);
  const second = realtime.subscribe("a");
  second.leave();
  assert.equal(presence.total, 2);
});

test("a room that the server subscribed to has members until the connection ends", (t) => {
  const { WebSocket, realtime, presence, reconnect } = setup(t);
  WebSocket.last.frame("subscribed", { room: "a", success: true, presence: picture });
  assert.deepEqual([keys(presence), realtime.rooms], [["7", "8"], []]);
  reconnect();
  assert.equal(presence.total, 0);
});

test("another user begins with nothing", (t) => {
  const { WebSocket, presence, accept, tick, log, grant } = joined(t);
  WebSocket.last.close();
  tick(1000);
  accept({ userId: 8 });
  assert.deepEqual([presence.total, log.splice(0)], [0, ["change 0"]]);
  grant({ ...picture, me: "8" });
  assert.deepEqual([presence.me.key, log], ["8", ["change 2"]]);
});

test("a handler may leave the room", (t) => {
  const { realtime, presence, tell, log } = joined(t);
  presence.on("join", () => realtime.unsubscribe("a"));
  tell(change(5, 6, { total: 4, joined: [person("9"), person("10")] }));
  assert.deepEqual(log, ["join 9", "change 0"]);
});

test("messages that make no sense do no harm", (t) => {
  const { WebSocket, presence } = joined(t);
  for (const payload of [undefined, null, 5, "text", [], {}, { room: "a" }, { room: "b", rev: 9 }, { room: "a", rev: null }]) {
    WebSocket.last.frame("presence", payload);
    WebSocket.last.frame("presence", payload, { id: "unknown" });
  }
  const odd = { total: 2, joined: 5, updated: [null], left: 5 };
  WebSocket.last.frame("presence", { room: "a", prev: 5, rev: 6, ...odd });
  WebSocket.last.frame("presence", { room: "a", prev: 6, rev: 7, total: 2, members: { length: 1 } });
  assert.equal(presence.total, 2);
});

test("a subscription with a picture that makes no sense resolves", async (t) => {
  for (const picture of [5, "text", [], {}, { members: 5 }, { members: [null] }]) {
    const { realtime, grant } = setup(t);
    const subscription = realtime.subscribe("a");
    grant(picture);
    assert.equal((await subscription).room, "a");
    realtime.disconnect();
    t.mock.timers.reset();
    t.mock.restoreAll();
  }
});

test("setState() sends the state and resolves when the server has it", async (t) => {
  const { presence, sent, answer } = joined(t);
  const set = presence.setState({ typing: true }, { ttl: 5 });
  assert.deepEqual(sent(), [{ room: "a", state: { typing: true }, ttl: 5 }]);
  answer({}, "ack");
  assert.equal(await set, undefined);
  assert.equal(presence.me.state, null, "the server tells the new state");
});

test("ten states a second are sent, the latest wins, and all promises resolve with it", async (t) => {
  const { presence, sent, answer, tick } = joined(t);
  const sets = [1, 2, 3].map((x) => presence.setState({ x }));
  assert.deepEqual(sent(), [{ room: "a", state: { x: 1 } }]);
  answer({}, "ack");
  await sets[0];
  let isSet = false;
  sets[1].then(() => (isSet = true));
  tick(INTERVAL_MS - 1);
  assert.equal(sent().length, 1);
  tick(1);
  assert.deepEqual(sent().slice(1), [{ room: "a", state: { x: 3 } }]);
  await settled();
  assert.equal(isSet, false);
  answer({}, "ack");
  await Promise.all(sets);
  tick(10 * INTERVAL_MS);
  for (let x = 0; x < 199; x += 1) {
    presence.setState({ x });
    tick(5);
  }
  assert.equal(sent().length, 2 + 10);
  tick(INTERVAL_MS);
  assert.deepEqual(sent().at(-1).state, { x: 198 });
});

test("a state is sent as it was when it was set", (t) => {
  const { presence, sent, tick } = joined(t);
  presence.setState(null);
  const state = { x: 1 };
  presence.setState(state);
  state.x = 2;
  tick(INTERVAL_MS);
  assert.deepEqual(sent().map((payload) => payload.state), [null, { x: 1 }]);
});

test("a state that JSON cannot write rejects, and the one before is sent", async (t) => {
  const { presence, sent, tick } = joined(t);
  presence.setState({ x: 1 });
  presence.setState({ x: 2 });
  await assert.rejects(presence.setState({ x: 1n }), TypeError);
  tick(INTERVAL_MS);
  assert.deepEqual(sent().at(-1).state, { x: 2 });
});

test("a state that the server refuses rejects", async (t) => {
  const { presence, refuse, sent, tick } = joined(t);
  const set = presence.setState("text");
  refuse("INVALID_PAYLOAD", { path: "state" });
  await assert.rejects(set, { code: "INVALID_PAYLOAD", path: "state" });
  tick(60_000);
  assert.equal(sent().length, 1);
});

test("a state over the rate is sent again later, unless there is a newer one", async (t) => {
  const { presence, refuse, sent, answer, tick } = joined(t);
  const sets = [presence.setState({ x: 1 }, { ttl: 10 })];
  refuse("RATE_LIMITED", { retryAfter: 1000 });
  tick(999);
  assert.equal(sent().length, 1);
  tick(251);
  assert.deepEqual(sent().at(-1), { room: "a", state: { x: 1 }, ttl: 8.75 });
  refuse("RATE_LIMITED", { retryAfter: 1000 });
  sets.push(presence.setState({ x: 2 }));
  tick(1250);
  assert.deepEqual(sent().slice(2), [{ room: "a", state: { x: 2 } }]);
  answer({}, "ack");
  await Promise.all(sets);
});

test("without a connection the latest state waits until the room is joined again", async (t) => {
  const { WebSocket, presence, accept, grant, sent, answer, tick } = joined(t);
  const sets = [presence.setState({ x: 1 })];
  WebSocket.last.close();
  sets.push(presence.setState({ x: 2 }), presence.setState({ x: 3 }, { ttl: 60 }));
  tick(1000);
  accept();
  assert.deepEqual(sent(), []);
  grant();
  assert.deepEqual(sent(), [{ room: "a", state: { x: 3 }, ttl: 59 }]);
  answer({}, "ack");
  await Promise.all(sets);
});

test("a state that was sent and not answered is sent again after a reconnect", async (t) => {
  const { presence, reconnect, grant, sent, answer } = joined(t);
  const set = presence.setState({ x: 1 });
  reconnect();
  grant();
  assert.deepEqual(sent(), [{ room: "a", state: { x: 1 } }]);
  answer({}, "ack");
  await set;
});

test("a state whose time is over when it can be sent is null", (t) => {
  const { WebSocket, presence, accept, grant, sent, tick } = joined(t);
  WebSocket.last.close();
  presence.setState({ typing: true }, { ttl: 1 });
  tick(1000);
  accept();
  grant();
  assert.deepEqual(sent(), [{ room: "a", state: null }]);
});

test("a state may be set before the answer to subscribe()", (t) => {
  const { realtime, presence, grant, sent } = setup(t);
  realtime.subscribe("a");
  presence.setState({ x: 1 });
  assert.deepEqual(sent(), []);
  grant();
  assert.deepEqual(sent(), [{ room: "a", state: { x: 1 } }]);
});

test("a state for a room that nobody subscribed to is refused by the server", async (t) => {
  const { presence, refuse } = setup(t);
  const set = presence.setState({ x: 1 });
  refuse("NOT_IN_ROOM", { room: "a" });
  await assert.rejects(set, { code: "NOT_IN_ROOM" });
});

test("a state that waits rejects if the room is left, the client disconnects or the user changes", async (t) => {
  for (const [code, end] of [
    ["CANCELLED", ({ realtime }) => realtime.unsubscribe("a")],
    ["NOT_CONNECTED", ({ realtime }) => realtime.disconnect()],
    ["NOT_CONNECTED", ({ WebSocket, tick }) => {
      tick(1000);
      WebSocket.last.close(4501);
    }],
    ["USER_CHANGED", ({ tick, accept }) => {
      tick(1000);
      accept({ userId: 8 });
    }],
  ]) {
    const parts = joined(t);
    parts.WebSocket.last.close();
    const set = parts.presence.setState({ x: 1 });
    end(parts);
    await assert.rejects(set, { code });
    if (code === "NOT_CONNECTED") await assert.rejects(parts.presence.setState({ x: 2 }), { code });
    parts.realtime.disconnect();
    t.mock.timers.reset();
    t.mock.restoreAll();
  }
});

test("ignored promises raise no unhandled rejection", async (t) => {
  const unhandled = [];
  const listener = (error) => unhandled.push(error);
  process.on("unhandledRejection", listener);
  t.after(() => process.off("unhandledRejection", listener));
  const { realtime, presence, refuse, tick } = joined(t);
  presence.setState("text");
  refuse("INVALID_PAYLOAD");
  tick(INTERVAL_MS);
  presence.setState({ x: 1 });
  realtime.disconnect();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(unhandled, []);
});

test("a client that disconnects leaves no timers", (t) => {
  const { realtime, presence, tell, refuse } = joined(t);
  const { setTimeout, clearTimeout } = globalThis;
  const timers = new Set();
  globalThis.setTimeout = (run, delay, ...rest) => {
    const handle = setTimeout(run, delay, ...rest);
    timers.add(handle);
    return handle;
  };
  globalThis.clearTimeout = (handle) => {
    timers.delete(handle);
    clearTimeout(handle);
  };
  t.after(() => Object.assign(globalThis, { setTimeout, clearTimeout }));
  tell(change(6, 8));
  refuse("RATE_LIMITED", { retryAfter: 60_000 });
  presence.setState({ x: 1 });
  refuse("RATE_LIMITED", { retryAfter: 60_000 });
  assert.ok(timers.size >= 2);
  realtime.disconnect();
  assert.equal(timers.size, 0);
});

test("a room is named by a string", (t) => {
  const { realtime } = setup(t);
  for (const room of [undefined, null, 5]) assert.throws(() => realtime.presence(room), TypeError);
});

/** A number from 0 to `bound - 1`, the same ones for the same seed. */
function createRandom(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

for (let seed = 1; seed <= 20; seed += 1) {
  test(`over losses and reconnects, members and events are right in the end (seed ${seed})`, (t) => {
    const random = createRandom(seed);
    const { WebSocket, realtime, presence, tell, reconnect, tick, grant } = setup(t, { maxReconnectAttempts: Infinity });
    const truth = new Map();
    let rev = 1;
    let told = { rev, members: new Map() };
    const tellable = ({ members }) => members.size <= 6;
    const whole = () => ({
      rev: told.rev,
      total: told.members.size,
      ...(tellable(told) && { members: [...told.members.values()] }),
    });

    function change() {
      const key = String(random(8));
      if (truth.has(key) && random(2)) truth.delete(key);
      else truth.set(key, person(key, { connections: 1 + random(3) }));
      rev += 1 + random(3);
    }

    function emit(isLost) {
      const next = { rev, members: new Map(truth) };
      const parts = { joined: [], updated: [], left: [] };
      for (const [key, member] of next.members) {
        if (!told.members.has(key)) parts.joined.push(member);
        else if (told.members.get(key) !== member) parts.updated.push(member);
      }
      for (const key of told.members.keys()) if (!next.members.has(key)) parts.left.push(key);
      const isWhole = !tellable(told);
      const prev = told.rev;
      told = next;
      const lists = isWhole ? { members: whole().members } : parts;
      if (!isLost) tell({ room: "a", rev, prev, total: truth.size, ...(tellable(next) && lists) });
    }

    function answer() {
      for (const { id } of WebSocket.last.sentOf("presence")) {
        WebSocket.last.frame("presence", { room: "a", ...whole() }, { id });
      }
    }

    // What a page shows that only follows the events; null if it is told the number only.
    let shown = null;
    const mistakes = [];
    const expect = (isRight, mistake) => isRight || mistakes.push(mistake);
    presence.on("join", ({ key }) => expect(shown && !shown.has(key) && shown.add(key), `join ${key}`));
    presence.on("leave", ({ key }) => expect(shown?.delete(key), `leave ${key}`));
    presence.on("change", ({ members, total }) => {
      const told = members.length === total ? new Set(keys({ members })) : null;
      const isSame = () => shown.size === told.size && [...told].every((key) => shown.has(key));
      expect(!shown || !told || isSame(), "other members than the events tell");
      shown = told;
    });

    realtime.subscribe("a");
    grant(whole());
    shown ??= new Set();
    for (let step = 0; step < 120; step += 1) {
      const action = random(12);
      if (action < 6) change();
      else if (action < 10) emit(random(4) === 0);
      else if (action === 10) answer();
      else {
        reconnect();
        grant(whole());
      }
      tick(50);
    }
    for (let round = 0; round < 2; round += 1) {
      change();
      emit(false);
      answer();
    }
    const expected = truth.size <= 6 ? [...truth.keys()].sort() : [];
    assert.deepEqual([keys(presence).sort(), presence.total, mistakes], [expected, truth.size, []]);
    for (const { key, connections } of presence.members) assert.equal(connections, truth.get(key).connections);
    realtime.disconnect();
  });
}
