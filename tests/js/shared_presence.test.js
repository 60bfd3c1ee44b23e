/** The members of rooms in tabs that share a socket. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createBrowser } from "./browser.js";
import { rest } from "./fake_tabs.js";

const LEAVE_DELAY_MS = 10_000;
const EVE = { userId: 8, info: { name: "Eve" }, since: 1 };

/** Tabs with a client each. The first one leads. Those of `inRoom` are in room "a". */
async function setup(t, { count = 2, inRoom = count, ...options } = {}) {
  const { browser, tick } = createBrowser(t, { automatic: true, name: "Anna", ...options });
  const { server } = browser;
  const people = server.presence("a");
  async function open() {
    const tab = browser.tab();
    const client = tab.connect({ reconnectDelay: 1000 });
    const presence = client.presence("a");
    t.after(() => {
      client.disconnect();
      tab.hide();
    });
    // The module for shared tabs is loaded in real time.
    for (let turn = 0; turn < 500 && !client.connected; turn += 1) await rest();
    await tick(500);
    assert.equal(client.status, "connected");
    return { tab, client, presence };
  }
  const all = [];
  for (let number = 0; number < count; number += 1) {
    all.push(await open());
    if (number < inRoom) await all[number].client.subscribe("a");
  }
  return { browser, server, people, tick, open, all, presences: all.map(({ presence }) => presence) };
}

const names = ({ members }) => members.map(({ info }) => info.name);

test("all tabs are one member, and each is told who is there", async (t) => {
  const { server, people, presences } = await setup(t, { count: 3 });
  people.join(EVE);
  await rest();
  assert.equal(server.connections.length, 1);
  for (const presence of presences) {
    assert.deepEqual([presence.total, names(presence)], [2, ["Eve", "Anna"]]);
    assert.deepEqual([presence.me.key, presence.me.connections], ["7", 1]);
  }
  people.leave(8);
  await rest();
  for (const presence of presences) assert.deepEqual(names(presence), ["Anna"]);
});

test("a tab that joins a room later is told who is there now, without the server", async (t) => {
  const { server, people, all: [one, two] } = await setup(t, { inRoom: 1 });
  people.join(EVE);
  people.update(8, { state: { typing: true } });
  people.join({ userId: 9, info: { name: "Leo" }, since: 2 });
  people.leave(9);
  await rest();
  await two.client.subscribe("a");
  assert.equal(server.sentOf("subscribe").length, 1);
  assert.deepEqual(two.presence.members, one.presence.members);
  assert.deepEqual(two.presence.members[0].state, { typing: true });
  assert.equal(two.presence.me.key, "7");
  people.leave(8);
  await rest();
  assert.deepEqual(names(two.presence), ["Anna"]);
  assert.equal(server.sentOf("presence").length, 0);
});

test("only tabs in the room are told", async (t) => {
  const { people, all: [one, two] } = await setup(t, { inRoom: 1 });
  const types = [];
  two.client.on("*", ({ type }) => types.push(type));
  people.join(EVE);
  await rest();
  assert.deepEqual([one.presence.total, two.presence.total, types], [2, 0, []]);
});

test("a state that one tab sets is that of all", async (t) => {
  const { people, presences: [one, two] } = await setup(t);
  await two.setState({ typing: true });
  await rest();
  assert.deepEqual(people.members[0].state, { typing: true });
  for (const { me } of [one, two]) assert.deepEqual(me.state, { typing: true });
});

test("a tab that is not in the room can neither ask nor set a state", async (t) => {
  const { server, all: [, two] } = await setup(t, { inRoom: 1 });
  const errors = [];
  two.client.on("error", ({ payload: { code, room } }) => errors.push([code, room]));
  await two.client.sendMessage("presence", { room: "a" });
  await two.client.sendMessage("presence", { room: "a", state: { x: 1 } });
  await rest();
  assert.deepEqual(errors, Array(2).fill(["NOT_IN_ROOM", "a"]));
  assert.equal(server.sentOf("presence").length, 0);
});

test("tabs that miss a change ask once, and so does one that joins then", async (t) => {
  const { server, people, tick, all: [one, two, three] } = await setup(t, { count: 3, inRoom: 2 });
  const { rev } = (await one.client.subscribe("a")).payload.presence;
  people.join(EVE);
  await rest();
  // Some of what was told never arrived.
  const missed = { joined: [], updated: [], left: [], total: 3 };
  server.last.frame("presence", { room: "a", rev: rev + 2e9, prev: rev + 1e9, ...missed }, { room: "a" });
  const subscribed = three.client.subscribe("a");
  await tick(500);
  await subscribed;
  assert.equal(server.sentOf("presence").length, 1);
  for (const { presence } of [one, two, three]) assert.deepEqual(names(presence), ["Eve", "Anna"]);
});

test("a question that is never answered does not hold up the next one", async (t) => {
  const { server, people, tick, all: [one, two] } = await setup(t);
  const { rev } = (await one.client.subscribe("a")).payload.presence;
  const { reply, frame } = server.last;
  Object.assign(server.last, { reply() {}, frame() {} });
  people.join(EVE);
  const missed = { joined: [], updated: [], left: [], total: 2 };
  frame("presence", { room: "a", rev: rev + 2e9, prev: rev + 1e9, ...missed }, { room: "a" });
  await tick(1000);
  assert.equal(server.sentOf("presence").length, 1);
  Object.assign(server.last, { reply, frame });
  await tick(20_000);
  for (const { presence } of [one, two]) assert.deepEqual(names(presence), ["Eve", "Anna"]);
});

test("a question that is refused is refused to all tabs that ask", async (t) => {
  const { server, all } = await setup(t);
  server.refuse("presence", "FORBIDDEN", { room: "a" });
  const errors = [];
  for (const { client } of all) {
    client.on("error", ({ payload: { code } }) => errors.push(code));
    client.sendMessage("presence", { room: "a" });
  }
  await rest();
  assert.deepEqual(errors, ["FORBIDDEN", "FORBIDDEN"]);
});

test("a page that is loaded anew says nothing to others", async (t) => {
  const { people, server, tick, open, all: [, two] } = await setup(t, { count: 2, inRoom: 0 });
  await two.client.subscribe("a");
  two.tab.hide();
  await tick(LEAVE_DELAY_MS / 2);
  assert.equal(people.total, 1);
  const again = await open();
  await again.client.subscribe("a");
  await tick(LEAVE_DELAY_MS);
  assert.deepEqual([people.total, again.presence.total], [1, 1]);
  assert.equal(server.sentOf("unsubscribe").length, 0);
  again.tab.kill();
  await tick(LEAVE_DELAY_MS + 500);
  assert.equal(people.total, 0);
  assert.equal(server.sentOf("unsubscribe").length, 1);
});

test("the last page closes the socket, and the server waits for it to come back", async (t) => {
  const { people, server, tick, open, all: [one] } = await setup(t, { count: 1 });
  one.tab.hide();
  await tick(500);
  assert.equal(people.total, 1);
  assert.equal(server.sentOf("unsubscribe").length, 0);
  const again = await open();
  await again.client.subscribe("a");
  await tick(LEAVE_DELAY_MS * 2);
  assert.deepEqual([people.total, again.presence.me.connections], [1, 1]);
});

test("a tab that leaves the room leaves at once, if it is the last one", async (t) => {
  const { people, server, all: [one, two] } = await setup(t);
  await one.client.unsubscribe("a");
  assert.deepEqual([one.presence.total, two.presence.total, people.total], [0, 1, 1]);
  await two.client.unsubscribe("a");
  assert.deepEqual([people.total, server.sentOf("unsubscribe").length], [0, 1]);
});

test("the next leader goes on, and nobody comes or goes", async (t) => {
  const { people, browser, tick, all: [one, two, three] } = await setup(t, { count: 3 });
  people.join(EVE);
  await rest();
  const events = [];
  for (const { presence } of [two, three]) {
    for (const type of ["join", "leave"]) presence.on(type, ({ key }) => events.push([type, key]));
  }
  one.tab.hide();
  await tick(2000);
  assert.equal(browser.open.length, 1);
  people.leave(8);
  people.join({ userId: 9, info: { name: "Leo" }, since: 2 });
  await tick(LEAVE_DELAY_MS);
  for (const { presence } of [two, three]) {
    assert.deepEqual([names(presence), presence.me.connections], [["Leo", "Anna"], 1]);
  }
  assert.deepEqual(events.sort(), [["join", "9"], ["join", "9"], ["leave", "8"], ["leave", "8"]]);
});

test("tabs that a message of the past takes back are still told who is there", async (t) => {
  const { server, people, tick, all: [one, two] } = await setup(t, { inRoom: 1 });
  server.push("news", 1, { room: "a" });
  server.push("news", 2, { room: "a" });
  await rest();
  const back = two.client.subscribe("a", { last: 2 });
  people.join(EVE);
  await tick(500);
  await back;
  people.update(8, { state: { x: 1 } });
  await rest();
  for (const { presence } of [one, two]) assert.deepEqual(presence.members[0].state, { x: 1 });
  assert.equal(server.sentOf("presence").length, 0);
});

test("a tab that slept when the socket closed goes on with the next one", async (t) => {
  const { server, people, tick, all: [one, two] } = await setup(t);
  two.tab.sleep();
  server.last.close();
  await rest();
  two.tab.wake();
  await tick(3000);
  people.join(EVE);
  await rest();
  for (const { presence } of [one, two]) assert.deepEqual(names(presence), ["Eve", "Anna"]);
});
