/** The members of rooms on the fake server, as its connections are told of them. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";

const URL = "ws://site.test/";
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A client that speaks the protocol itself. */
async function connect(server, query = "") {
  const socket = new server.WebSocket(URL + query);
  const frames = [];
  socket.addEventListener("message", ({ data }) => frames.push(JSON.parse(data)));
  await turn();
  let count = 0;
  return {
    socket,
    frames,
    id: frames[0].payload.connectionId,

    async ask(type, payload) {
      count += 1;
      const id = `${type} ${count}`;
      socket.send(JSON.stringify({ type, payload, timestamp: 0, id }));
      await turn();
      return frames.find((frame) => frame.id === id);
    },

    join: async (client) => (await client.ask("subscribe", { room: "a" })).payload.presence,

    /** The changes that came, without the numbers of a run. */
    told() {
      const all = frames.filter(({ type, id }) => type === "presence" && id === undefined);
      return all.map(({ payload: { room, rev, prev, ...rest } }) => rest);
    },
  };
}

async function joined(server, query) {
  const client = await connect(server, query);
  const presence = await client.join(client);
  return { ...client, presence };
}

const ADA = { userId: 5, name: "Ada" };

test("a room has presence once the test says so", async () => {
  const server = createFakeServer(ADA);
  const client = await joined(server);
  assert.equal(client.presence, undefined);
  const error = await client.ask("presence", { room: "a" });
  assert.deepEqual([error.type, error.payload.code], ["error", "FORBIDDEN"]);
});

test("a client is told who is there, itself included, and who comes and goes", async () => {
  const server = createFakeServer(ADA);
  const people = server.presence("a");
  people.join({ userId: 7, info: { name: "Eve" }, since: 1 });
  const client = await joined(server);
  const { rev, total, me, members } = client.presence;
  assert.deepEqual([typeof rev, total, me], ["number", 2, "5"]);
  const found = members.map(({ key, userId, info, connections }) => [key, userId, info.name, connections]);
  assert.deepEqual(found, [["7", 7, "Eve", 1], ["5", 5, "Ada", 1]]);
  assert.deepEqual(client.told(), []);
  people.update(7, { state: { typing: true } });
  people.leave(7);
  people.join({ userId: 8, since: 2 });
  const eve = { key: "7", userId: 7, info: { name: "Eve" }, since: 1, connections: 1, state: { typing: true } };
  const other = { key: "8", userId: 8, info: {}, since: 2, connections: 1 };
  assert.deepEqual(client.told(), [
    { total: 2, joined: [], updated: [eve], left: [] },
    { total: 1, joined: [], updated: [], left: ["7"] },
    { total: 2, joined: [other], updated: [], left: [] },
  ]);
  assert.deepEqual(people.members.map(({ key }) => key), ["8", "5"]);
  const revs = client.frames.filter(({ type }) => type === "presence").map(({ payload }) => payload);
  assert.ok(revs[0].prev <= rev);
  for (const [index, { prev }] of revs.slice(1).entries()) assert.equal(prev, revs[index].rev);
  assert.throws(() => people.update(9, {}), /no member "9"/);
});

test("a user with two connections is one member, and leaves with the last one", async () => {
  const server = createFakeServer(ADA);
  server.presence("a");
  const first = await joined(server);
  const second = await joined(server);
  assert.equal(second.presence.members[0].connections, 2);
  await second.ask("unsubscribe", { room: "a" });
  await first.ask("unsubscribe", { room: "a" });
  assert.deepEqual(first.told().map(({ total, updated }) => [total, updated[0].connections]), [[1, 2], [1, 1]]);
  assert.equal(server.presence("a").total, 0);
});

test("a page that is loaded anew within the grace changes nothing", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = createFakeServer({ userId: 1 });
  const people = server.presence("a", { grace: 5000 });
  const other = await joined(server);
  server.logIn(ADA);
  const lost = await joined(server);
  lost.socket.close();
  await joined(server);
  t.mock.timers.tick(5000);
  assert.equal(other.told().length, 1);
  assert.deepEqual(people.members.map(({ connections }) => connections), [1, 1]);
});

test("a lost connection changes nothing if it is back within the grace", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = createFakeServer({ userId: 1 });
  server.presence("a", { grace: 5000 });
  const other = await joined(server);
  server.logIn(ADA);
  const lost = await joined(server);
  lost.socket.close();
  t.mock.timers.tick(4999);
  const again = await joined(server, `?resume=${lost.id}&user=5`);
  t.mock.timers.tick(5000);
  assert.equal(other.told().length, 1);
  again.socket.close();
  t.mock.timers.tick(5000);
  assert.deepEqual(other.told().at(-1), { total: 1, joined: [], updated: [], left: ["5"] });
});

test("a connection that is closed for good leaves at once", async () => {
  const server = createFakeServer(ADA);
  const people = server.presence("a");
  for (const code of [4503, 4999]) {
    await joined(server);
    assert.equal(people.total, 1);
    server.close(code);
    assert.equal(people.total, 0);
  }
});

test("members may be connections, of anonymous clients too", async () => {
  const server = createFakeServer({ userId: null });
  const people = server.presence("a", { per: "connection" });
  const first = await joined(server);
  const again = await joined(server, `?resume=${first.id}&user=`);
  const second = await joined(server);
  assert.equal(again.presence.me, first.presence.me);
  assert.notEqual(second.presence.me, first.presence.me);
  assert.equal(people.total, 2);
  assert.deepEqual(people.members[0].info, {});
  const perUser = server.presence("b");
  await first.ask("subscribe", { room: "b" });
  assert.equal(perUser.total, 0);
});

test("only the number is told to who may not see, and past the maximum", async () => {
  const server = createFakeServer(ADA);
  const hidden = server.presence("a", { see: false, beSeen: false });
  const { presence, told } = await joined(server);
  assert.deepEqual([presence.total, presence.members, presence.me], [0, undefined, undefined]);
  hidden.join({ userId: 7 });
  hidden.update(7, { state: { x: 1 } });
  assert.deepEqual(told(), [{ total: 1 }]);

  const crowd = createFakeServer(ADA);
  const people = crowd.presence("a", { max: 2 });
  const client = await joined(crowd);
  people.join({ userId: 7 });
  people.join({ userId: 8 });
  people.update(8, { state: { x: 1 } });
  people.leave(8);
  const found = client.told().map(({ total, members, joined }) => [total, members?.length, joined?.length]);
  assert.deepEqual(found, [[2, undefined, 1], [3, undefined, undefined], [2, 2, undefined]]);
});

test("a client asks, and sets its state, which falls back by itself", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = createFakeServer(ADA);
  const people = server.presence("a");
  const client = await joined(server);
  const answer = await client.ask("presence", { room: "a" });
  assert.deepEqual(answer.payload, { room: "a", ...client.presence });
  const ack = await client.ask("presence", { room: "a", state: { typing: true }, ttl: 2 });
  assert.deepEqual([ack.type, ack.payload], ["ack", { room: "a" }]);
  assert.deepEqual(people.members[0].state, { typing: true });
  assert.equal(client.told().length, 1);
  t.mock.timers.tick(2000);
  assert.equal("state" in people.members[0], false);
  await client.ask("presence", { room: "a", state: { x: 1 }, ttl: 2 });
  await client.ask("presence", { room: "a", state: { x: 2 } });
  t.mock.timers.tick(2000);
  assert.deepEqual(people.members[0].state, { x: 2 });
});

test("a state that does not fit is refused, as is one of nobody", async () => {
  const server = createFakeServer(ADA);
  server.presence("a");
  server.presence("unseen", { beSeen: false });
  const client = await joined(server);
  await client.ask("subscribe", { room: "unseen" });
  const refused = async (payload) => {
    const { code, path, room } = (await client.ask("presence", payload)).payload;
    return [code, path, room];
  };
  assert.deepEqual(await refused({ room: "b" }), ["NOT_IN_ROOM", undefined, "b"]);
  assert.deepEqual(await refused({ room: "unseen", state: {} }), ["FORBIDDEN", undefined, "unseen"]);
  for (const state of [1, "x", [], { x: "é".repeat(510) }]) {
    assert.deepEqual(await refused({ room: "a", state }), ["INVALID_PAYLOAD", "state", "a"]);
  }
  for (const ttl of [0, -1, 86_401, "1", true, null]) {
    assert.deepEqual(await refused({ room: "a", state: {}, ttl }), ["INVALID_PAYLOAD", "ttl", "a"]);
  }
});

test("a copy of a tab counts beside it", async () => {
  const server = createFakeServer(ADA);
  const people = server.presence("a");
  const { id } = await joined(server);
  await joined(server, `?resume=-,${id}`);
  assert.equal(people.members[0].connections, 2);
  await joined(server, `?resume=${id}`);
  assert.equal(people.members[0].connections, 2);
});

test("visitors without a key are members of their own", async () => {
  const server = createFakeServer(ADA);
  const people = server.presence("a", { per: "connection" });
  const keys = ["Eve", "Bob"].map((name) => people.join({ info: { name } }));
  assert.deepEqual(people.members.map(({ key }) => key), keys);
  people.leave(keys[0]);
  assert.deepEqual(people.members.map(({ userId, info }) => [userId, info.name]), [[null, "Bob"]]);
  assert.equal(people.join({ userId: 7 }), "7");
});
