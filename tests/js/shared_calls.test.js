/** Commands of the site and volatile messages of tabs that share a socket. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fakeBrowser, rest } from "./fake_tabs.js";

/** Waits until the condition holds; the timers of clients go on. */
async function until(condition) {
  const start = Date.now();
  while (!condition()) {
    assert.ok(Date.now() - start < 5_000, `Not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Tabs with a client each, in room "a". The first one leads. */
async function setup(t, { count = 2, rooms = ["a"], ...options } = {}) {
  const browser = fakeBrowser({ automatic: true, name: "Anna", ...options });
  const { server } = browser;
  const calls = [];
  server.handle("bid", (payload, request) => {
    const call = { payload, request };
    calls.push(call);
    return new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
  });
  server.handle("echo", (payload) => payload);
  const tabs = [];
  const clients = [];
  for (let number = 0; number < count; number += 1) {
    const tab = browser.tab();
    const client = tab.connect();
    t.after(() => {
      client.disconnect();
      tab.hide();
    });
    tabs.push(tab);
    clients.push(client);
    await until(() => client.connected);
    for (const room of rooms) await client.subscribe(room);
  }
  assert.equal(browser.open.length, 1);
  /** The types of all frames that a client gets. */
  const heard = clients.map((client) => {
    const types = [];
    client.on("*", ({ type }) => types.push(type));
    return types;
  });
  /** The leading tab crashes: the browser closes its socket. */
  const crash = () => {
    const { last } = server;
    tabs[0].kill();
    last.close();
  };
  return { browser, server, tabs, clients, calls, heard, crash };
}

const inRoom = { room: "a" };

test("a call of a follower goes through the leader, and its result to it alone", async (t) => {
  const { clients, heard, server } = await setup(t, { count: 3 });
  assert.deepEqual(await clients[1].call("echo", { n: 1 }, inRoom), { n: 1 });
  await rest();
  assert.deepEqual(heard, [[], ["result"], []]);
  assert.equal(server.connections.length, 1);
  const [{ room, payload }] = server.sentOf("echo");
  assert.deepEqual([room, payload], ["a", { n: 1 }]);
  assert.equal(await clients[2].call("echo"), null);
  assert.deepEqual(heard, [[], ["result"], ["result"]]);
});

test("tabs that call the same type at once get their own results", async (t) => {
  const { clients, calls } = await setup(t);
  const answers = clients.map((client, number) => client.call("bid", number));
  await until(() => calls.length === 2);
  for (const { payload, resolve } of calls.reverse()) resolve(`for ${payload}`);
  assert.deepEqual(await Promise.all(answers), ["for 0", "for 1"]);
});

test("an error reaches the tab that asked, with data and path", async (t) => {
  const { clients, heard, server } = await setup(t);
  server.handle("fail", () => {
    throw { code: "OVER", message: "It is over.", data: { since: 1 }, path: "amount" };
  });
  await assert.rejects(clients[1].call("fail", 1, inRoom), {
    code: "OVER", message: "It is over.", data: { since: 1 }, path: "amount",
  });
  assert.deepEqual(heard, [[], ["error"]]);
});

test("a call whose leader crashes is sent again by the next, and carried out once", async (t) => {
  const { clients, calls, server, crash } = await setup(t, { count: 3 });
  const answers = [clients[1].call("bid", 1, inRoom), clients[2].call("bid", 2)];
  await until(() => calls.length === 2);
  crash();
  await until(() => server.sentOf("bid").length === 4);
  assert.equal(server.last.sentOf("bid").length, 2);
  for (const { payload, resolve } of calls) resolve(payload * 10);
  assert.deepEqual(await Promise.all(answers), [10, 20]);
  assert.equal(calls.length, 2);
  const ids = server.sentOf("bid").map(({ id }) => id);
  assert.equal(new Set(ids).size, 2);
});

test("a call whose result is lost with the leader gets it from the next", async (t) => {
  const { clients, calls, server, tabs } = await setup(t);
  const answer = clients[1].call("bid", 1, inRoom);
  await until(() => calls.length === 1);
  tabs[0].kill();
  calls[0].resolve("the first");
  await rest();
  server.connections[0].close();
  assert.equal(await answer, "the first");
  assert.equal(calls.length, 1);
});

test("the calls of a leader that is closed, or leaves, end as those of any page", async (t) => {
  const { clients, calls, tabs, server } = await setup(t);
  const own = clients[0].call("bid", "own");
  const other = clients[1].call("bid", "other");
  await until(() => calls.length === 2);
  clients[0].disconnect();
  await assert.rejects(own, { code: "NOT_CONNECTED" });
  // The tab still leads, for the other one.
  tabs[0].hide();
  await until(() => server.connections.length === 2 && server.last.sentOf("bid").length === 1);
  for (const { payload, resolve } of calls) resolve(payload);
  assert.equal(await other, "other");
  assert.equal(calls.length, 2);
});

test("a leader that is frozen hands its calls over, and has their results later", async (t) => {
  const { clients, calls, tabs, server } = await setup(t);
  const answers = clients.map((client, number) => client.call("bid", number));
  await until(() => calls.length === 2);
  tabs[0].sleep();
  await until(() => server.sentOf("bid").length === 3);
  for (const { payload, resolve } of calls) resolve(payload);
  assert.equal(await answers[1], 1);
  tabs[0].wake();
  assert.equal(await answers[0], 0);
  assert.equal(calls.length, 2);
});

test("a lost connection is none of the tabs' concern", async (t) => {
  const { clients, calls, server } = await setup(t);
  const answers = clients.map((client, number) => client.call("bid", number));
  await until(() => calls.length === 2);
  server.close();
  await until(() => server.sentOf("bid").length === 4);
  for (const { payload, resolve } of calls) resolve(payload);
  assert.deepEqual(await Promise.all(answers), [0, 1]);
  assert.equal(calls.length, 2);
});

test("the calls of a tab for one room are carried out in their order, over leaders", async (t) => {
  const { clients, server, crash, tabs } = await setup(t, { count: 3, rooms: ["a", "b"] });
  const order = { a: [], b: [] };
  server.handle("step", async (payload, { room }) => {
    await rest();
    order[room].push(payload);
    return payload;
  });
  const answers = [];
  for (let number = 0; number < 20; number += 1) {
    for (const room of ["a", "b"]) answers.push(clients[2].call("step", number, { room }));
    if (number === 7) crash();
    if (number === 13) {
      await rest();
      tabs[1].sleep();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const results = await Promise.all(answers);
  const numbers = Array.from({ length: 20 }, (_, number) => number);
  assert.deepEqual(results, numbers.flatMap((number) => [number, number]));
  assert.deepEqual(order, { a: numbers, b: numbers });
  tabs[1].wake();
});

test("a call that timed out while no leader took it is not sent", async (t) => {
  const { clients, calls, server, tabs, crash } = await setup(t);
  // The leader's page hangs.
  tabs[0].sleep(null);
  const late = clients[1].call("bid", "late", { timeout: 5 });
  await assert.rejects(late, { code: "TIMEOUT", envelope: null });
  const kept = clients[1].call("bid", "kept", { timeout: 60_000 });
  crash();
  await until(() => calls.length === 1);
  calls[0].resolve("done");
  assert.equal(await kept, "done");
  assert.deepEqual(server.sentOf("bid").map(({ payload }) => payload), ["kept"]);
});

test("a call of a page that is closed meanwhile is carried out, and nobody gets its result", async (t) => {
  const { clients, calls, heard, tabs, server } = await setup(t, { count: 3 });
  clients[2].call("bid", 1, inRoom);
  await until(() => calls.length === 1);
  tabs[2].hide();
  calls[0].resolve(1);
  await rest();
  assert.deepEqual(heard, [[], [], []]);
  assert.equal(await clients[1].call("echo", 2, inRoom), 2);
  assert.equal(server.connections.length, 1);
});

test("a command without an answer of the client's reaches the server once", async (t) => {
  const { clients, server, heard } = await setup(t);
  await clients[1].send({ type: "echo", payload: 1, room: "a" });
  await rest();
  assert.equal(server.sentOf("echo").length, 1);
  assert.deepEqual(heard, [[], ["result"]]);
});

test("a volatile message reaches the server once, and the other tabs in the room", async (t) => {
  const { clients, server, browser } = await setup(t, { count: 3 });
  const other = browser.tab().connect();
  t.after(() => other.disconnect());
  await until(() => other.connected);
  const seen = [[], [], [], []];
  for (const [number, client] of [...clients, other].entries()) {
    client.on("message", (envelope) => seen[number].push(envelope));
  }
  // So the browser knows the name of its user.
  await clients[0].sendToRoom("a", "hello");
  await rest();
  for (const list of seen) list.length = 0;
  assert.equal(await clients[1].sendToRoom("a", { x: 1 }, { volatile: true }), undefined);
  await rest();
  assert.deepEqual(seen.map((list) => list.length), [1, 0, 1, 0]);
  const [{ timestamp, ...envelope }] = seen[0];
  const from = { userId: 7, name: "Anna" };
  const payload = { room: "a", content: { x: 1 }, from, volatile: true };
  assert.deepEqual(envelope, { type: "message", payload, room: "a" });
  assert.equal(typeof timestamp, "number");
  const [, { id, payload: sent }] = server.sentOf("message");
  assert.deepEqual([id, sent], [undefined, { room: "a", content: { x: 1 }, volatile: true }]);
});

test("all tabs are in a room that the server put the connection into", async (t) => {
  const { clients, server } = await setup(t, { rooms: [], userId: null });
  const { last } = server;
  last.rooms.add("b");
  last.frame("subscribed", { room: "b", success: true });
  await rest();
  const seen = [[], []];
  clients.forEach((client, number) => client.on("message", ({ payload }) => seen[number].push(payload)));
  await clients[1].sendToRoom("b", 1, { volatile: true });
  await rest();
  assert.deepEqual(seen, [[{ room: "b", content: 1, volatile: true }], []]);
});

test("a refused volatile message is an error for the tabs that send to the room", async (t) => {
  const { clients, server, browser } = await setup(t);
  const outside = browser.tab().connect();
  t.after(() => outside.disconnect());
  await until(() => outside.connected);
  const errors = [[], [], []];
  for (const [number, client] of [...clients, outside].entries()) {
    client.on("error", ({ payload: { code, room } }) => errors[number].push([code, room]));
  }
  server.refuse("message", "RATE_LIMITED", { room: "a" });
  await clients[1].sendToRoom("a", 1, { volatile: true });
  await rest();
  assert.deepEqual(errors, [[], [["RATE_LIMITED", "a"]], []]);
  await outside.sendToRoom("a", 1, { volatile: true });
  await rest();
  assert.deepEqual(errors[2], [["NOT_IN_ROOM", "a"]]);
  assert.equal(server.sentOf("message").length, 1);
});

test("a volatile message is dropped while nobody can send it, and never sent later", async (t) => {
  const { clients, server, tabs, crash } = await setup(t);
  tabs[0].sleep(null);
  await clients[1].sendToRoom("a", "lost", { volatile: true });
  crash();
  await clients[1].sendToRoom("a", "lost", { volatile: true });
  await until(() => server.connections.length === 2 && clients[1].connected);
  await until(() => server.last.rooms.has("a"));
  await clients[1].sendToRoom("a", "sent", { volatile: true });
  await rest();
  assert.deepEqual(server.sentOf("message").map(({ payload }) => payload.content), ["sent"]);
});

test("a leader that hung does not send volatile messages of that time", async (t) => {
  const { clients, server } = await setup(t);
  const send = (content, age) => {
    const payload = { room: "a", content, volatile: true };
    return clients[1].send({ type: "message", payload, timestamp: Date.now() - age });
  };
  await send("old", 2_000);
  await send("new", 0);
  await rest();
  assert.deepEqual(server.sentOf("message").map(({ payload }) => payload.content), ["new"]);
});

test("volatile messages that are sent as the connection opens follow the rooms", async (t) => {
  const { clients, server, tabs } = await setup(t);
  const errors = [];
  clients[1].on("error", ({ payload }) => errors.push(payload));
  clients[1].on(":open", () => clients[1].sendToRoom("a", 1, { volatile: true }));
  tabs[0].hide();
  await until(() => server.connections.length === 2 && server.last.sent.length === 2);
  assert.deepEqual(server.last.sent.map(({ type }) => type), ["subscribe", "message"]);
  await rest();
  assert.deepEqual(errors, []);
});
