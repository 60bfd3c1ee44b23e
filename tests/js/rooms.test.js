import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { fakeWebSocket, settled } from "./fake_socket.js";

function setup(t, { connect = true } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket });
  if (connect) {
    realtime.connect();
    WebSocket.last.accept();
  }
  const reconnect = (code) => {
    WebSocket.last.close(code);
    t.mock.timers.tick(30_000);
    WebSocket.last.accept();
  };
  return { WebSocket, realtime, reconnect, tick: (ms) => t.mock.timers.tick(ms) };
}

function grant(socket, command) {
  socket.reply(command, "subscribed", { room: command.payload.room, success: true });
}

const roomsAskedFor = (socket) => socket.sentOf("subscribe").map(({ payload }) => payload.room);

test("subscribe() resolves with the server's answer", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const joined = realtime.subscribe("support");
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "support" });
  grant(WebSocket.last, WebSocket.last.lastSent);
  assert.equal((await joined).payload.room, "support");
  assert.deepEqual(realtime.rooms, ["support"]);
});

for (const room of [1n, 5, null, undefined, ["a"]]) {
  test(`a room named by ${typeof room} is refused, and other rooms still work`, async (t) => {
    for (const connect of [false, true]) {
      const { WebSocket, realtime, reconnect } = setup(t, { connect });
      await assert.rejects(realtime.subscribe(room), TypeError);
      assert.deepEqual(realtime.rooms, []);
      realtime.subscribe("support");
      if (!connect) {
        realtime.connect();
        WebSocket.last.accept();
      }
      reconnect();
      assert.deepEqual(roomsAskedFor(WebSocket.last), ["support"]);
      assert.equal(realtime.connected, true);
      t.mock.timers.reset();
    }
  });
}

test("a new connection joins the rooms before it sends the queue", async (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  for (const room of ["a", "b"]) {
    realtime.subscribe(room);
    grant(WebSocket.last, WebSocket.last.lastSent);
  }
  await settled();
  WebSocket.last.close();
  realtime.sendToRoom("a", "queued");
  realtime.subscribe("c");
  realtime.on(":open", () => realtime.sendToRoom("a", "on open"));
  realtime.on(":status", ({ status }) => {
    if (status === "connected") realtime.sendToRoom("a", "on status");
  });
  tick(1000);
  WebSocket.last.accept();
  assert.deepEqual(
    WebSocket.last.sent.map(({ payload }) => payload.content ?? payload.room),
    ["a", "b", "c", "queued", "on open", "on status"],
  );
});

test("a room that is wanted before connect() is joined on the first connection", async (t) => {
  const { WebSocket, realtime } = setup(t, { connect: false });
  const joined = realtime.subscribe("a");
  realtime.connect();
  assert.deepEqual(WebSocket.last.sent, []);
  WebSocket.last.accept();
  grant(WebSocket.last, WebSocket.last.lastSent);
  assert.equal((await joined).type, "subscribed");
});

test("a refused room is forgotten", async (t) => {
  const { WebSocket, realtime, reconnect } = setup(t);
  const joined = realtime.subscribe("a");
  WebSocket.last.refuse(WebSocket.last.lastSent, "FORBIDDEN");
  await assert.rejects(joined, { code: "FORBIDDEN" });
  assert.deepEqual(realtime.rooms, []);
  reconnect();
  assert.deepEqual(roomsAskedFor(WebSocket.last), []);
});

test("a room that is refused on the next connection is forgotten", async (t) => {
  const { WebSocket, realtime, reconnect } = setup(t);
  realtime.subscribe("a");
  grant(WebSocket.last, WebSocket.last.lastSent);
  await settled();
  reconnect();
  WebSocket.last.refuse(WebSocket.last.lastSent, "FORBIDDEN");
  await settled();
  assert.deepEqual(realtime.rooms, []);
});

test("an answer that was lost comes on the next connection", async (t) => {
  const { WebSocket, realtime, reconnect } = setup(t);
  const joined = realtime.subscribe("a");
  reconnect();
  grant(WebSocket.last, WebSocket.last.lastSent);
  assert.equal((await joined).type, "subscribed");
});

test("a room whose subscribe times out stays wanted", async (t) => {
  const { WebSocket, realtime, reconnect, tick } = setup(t);
  const joined = realtime.subscribe("a");
  tick(15_000);
  await assert.rejects(joined, { code: "TIMEOUT" });
  reconnect();
  assert.deepEqual(roomsAskedFor(WebSocket.last), ["a"]);
});

test("two subscribe() before the answer send one command", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const both = Promise.all([realtime.subscribe("a"), realtime.subscribe("a")]);
  assert.deepEqual(roomsAskedFor(WebSocket.last), ["a"]);
  grant(WebSocket.last, WebSocket.last.lastSent);
  assert.equal((await both).length, 2);
});

test("unsubscribe() tells the server and forgets the room", async (t) => {
  const { WebSocket, realtime, reconnect } = setup(t);
  realtime.subscribe("a");
  grant(WebSocket.last, WebSocket.last.lastSent);
  const left = realtime.unsubscribe("a");
  WebSocket.last.reply(WebSocket.last.lastSent, "unsubscribed", { room: "a", success: true });
  assert.equal((await left).type, "unsubscribed");
  reconnect();
  assert.deepEqual(roomsAskedFor(WebSocket.last), []);
});

test("unsubscribe() without a connection resolves at once", async (t) => {
  const { WebSocket, realtime } = setup(t, { connect: false });
  const joined = realtime.subscribe("a");
  assert.deepEqual((await realtime.unsubscribe("a")).payload, { room: "a", success: true });
  await assert.rejects(joined, { code: "CANCELLED" });
  realtime.connect();
  WebSocket.last.accept();
  assert.deepEqual(WebSocket.last.sent, []);
});

test("late answers do not undo a second subscribe()", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const first = realtime.subscribe("a");
  const one = WebSocket.last.lastSent;
  realtime.unsubscribe("a");
  const two = WebSocket.last.lastSent;
  const second = realtime.subscribe("a");
  const three = WebSocket.last.lastSent;
  assert.notEqual(one.id, three.id);
  WebSocket.last.refuse(one, "RATE_LIMITED");
  WebSocket.last.reply(two, "unsubscribed", { room: "a", success: true });
  await assert.rejects(first, { code: "RATE_LIMITED" });
  assert.deepEqual(realtime.rooms, ["a"]);
  grant(WebSocket.last, three);
  assert.equal((await second).type, "subscribed");
});

test("a room is forgotten when the server removes the connection from it", async (t) => {
  const { WebSocket, realtime, reconnect } = setup(t);
  for (const room of ["a", "b", "c"]) {
    realtime.subscribe(room);
    grant(WebSocket.last, WebSocket.last.lastSent);
  }
  await settled();
  WebSocket.last.frame("unsubscribed", { room: "a", success: true, reason: "closed" });
  WebSocket.last.frame("unsubscribed", { room: "b", success: true });
  assert.deepEqual(realtime.rooms, ["c"]);
  reconnect();
  assert.deepEqual(roomsAskedFor(WebSocket.last), ["c"]);
});

test("a removal does not answer a pending subscribe()", async (t) => {
  const { WebSocket, realtime } = setup(t);
  realtime.subscribe("a");
  grant(WebSocket.last, WebSocket.last.lastSent);
  await settled();
  const again = realtime.subscribe("a");
  WebSocket.last.frame("unsubscribed", { room: "a", success: true, reason: "role" });
  grant(WebSocket.last, WebSocket.last.lastSent);
  await again;
  assert.deepEqual(realtime.rooms, ["a"]);
  WebSocket.last.frame("unsubscribed", { room: "a", success: true });
  assert.deepEqual(realtime.rooms, []);
});

test("a final close rejects pending subscribe() and keeps the rooms", async (t) => {
  const { WebSocket, realtime } = setup(t);
  realtime.subscribe("a");
  grant(WebSocket.last, WebSocket.last.lastSent);
  await settled();
  const waiting = realtime.subscribe("b");
  WebSocket.last.close(4502);
  await assert.rejects(waiting, { code: "NOT_CONNECTED" });
  realtime.connect();
  WebSocket.last.accept();
  assert.deepEqual(roomsAskedFor(WebSocket.last), ["a", "b"]);
});

test("a component that leaves does not take the room from another", async (t) => {
  const { WebSocket, realtime, reconnect } = setup(t);
  const one = realtime.subscribe("a");
  const two = realtime.subscribe("a");
  grant(WebSocket.last, WebSocket.last.lastSent);
  await Promise.all([one, two]);
  const { type, payload } = await one.leave();
  assert.deepEqual([type, payload], ["unsubscribed", { room: "a", success: true }]);
  await one.leave();
  assert.deepEqual(realtime.rooms, ["a"]);
  assert.equal(WebSocket.last.sentOf("unsubscribe").length, 0);
  reconnect();
  grant(WebSocket.last, WebSocket.last.lastSent);
  const left = two.leave();
  assert.deepEqual(realtime.rooms, []);
  WebSocket.last.reply(WebSocket.last.lastSent, "unsubscribed", { room: "a", success: true });
  assert.equal((await left).type, "unsubscribed");
  assert.equal(two.leave(), left);
  assert.equal(WebSocket.last.sentOf("unsubscribe").length, 1);
});

test("the answer to subscribe() has leave(), too, for code that awaits it", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const [first, second] = [realtime.subscribe("a"), realtime.subscribe("a")];
  grant(WebSocket.last, WebSocket.last.lastSent);
  const [one, two] = [await first, await second];
  assert.deepEqual([one.type, one.room, Object.keys(one).includes("leave")], ["subscribed", "a", false]);
  one.leave();
  first.leave();
  assert.deepEqual(realtime.rooms, ["a"]);
  two.leave();
  assert.deepEqual(realtime.rooms, []);
});

test("unsubscribe() leaves for all, and older subscriptions do not end newer ones", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const [one, two] = [realtime.subscribe("a"), realtime.subscribe("a")];
  grant(WebSocket.last, WebSocket.last.lastSent);
  await settled();
  realtime.unsubscribe("a");
  assert.deepEqual(realtime.rooms, []);
  const three = realtime.subscribe("a");
  for (const old of [one, two]) assert.equal((await old.leave()).type, "unsubscribed");
  assert.deepEqual(realtime.rooms, ["a"]);
  three.leave();
  assert.deepEqual(realtime.rooms, []);
  assert.equal(WebSocket.last.sentOf("unsubscribe").length, 2);
});

test("leave() before the answer cancels this subscription only", async (t) => {
  for (const connect of [true, false]) {
    const { WebSocket, realtime } = setup(t, { connect });
    const [one, two] = [realtime.subscribe("a"), realtime.subscribe("a")];
    one.leave();
    await assert.rejects(one, { code: "CANCELLED" });
    if (!connect) {
      realtime.connect();
      WebSocket.last.accept();
    }
    grant(WebSocket.last, WebSocket.last.lastSent);
    assert.equal((await two).type, "subscribed");
    assert.deepEqual(realtime.rooms, ["a"]);
    t.mock.timers.reset();
  }
});

test("a component that mounts, unmounts and mounts again is in the room", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const first = realtime.subscribe("a");
  first.leave();
  const second = realtime.subscribe("a");
  const [one, , two] = WebSocket.last.sent;
  grant(WebSocket.last, one);
  grant(WebSocket.last, two);
  await assert.rejects(first, { code: "CANCELLED" });
  assert.equal((await second).payload.room, "a");
  assert.deepEqual(realtime.rooms, ["a"]);
});

test("leave() of a refused subscription leaves no room of others", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const refused = realtime.subscribe("a");
  WebSocket.last.refuse(WebSocket.last.lastSent, "FORBIDDEN");
  await assert.rejects(refused, { code: "FORBIDDEN" });
  const granted = realtime.subscribe("a");
  grant(WebSocket.last, WebSocket.last.lastSent);
  await granted;
  assert.equal((await refused.leave()).type, "unsubscribed");
  assert.deepEqual(realtime.rooms, ["a"]);
  const wrong = realtime.subscribe(5);
  await wrong.leave();
  await assert.rejects(wrong, TypeError);
});

test("a subscription that had no answer counts until it leaves", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const [one, two] = [realtime.subscribe("a"), realtime.subscribe("a")];
  WebSocket.last.close(4503);
  await assert.rejects(one, { code: "NOT_CONNECTED" });
  realtime.connect();
  WebSocket.last.accept();
  one.leave();
  assert.deepEqual(realtime.rooms, ["a"]);
  two.leave();
  assert.deepEqual(realtime.rooms, []);
});
