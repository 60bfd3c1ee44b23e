/** The members of rooms in Vue components, with a fake server. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { createFakeServer } from "../../../pm_realtime/static/pm_realtime_testing/testing.js";
import { document } from "./page.js";

const { createApp, effectScope, h, isReadonly, nextTick, ref, toRaw } = await import("vue");
const { createRealtime } = await import("../../../pm_realtime/browser/client.js");
const { realtimeKey, usePresence, useWebSocket } = await import("../../../pm_realtime/browser/vue.js");

const KEY = Symbol.for("pm_realtime");
const EVE = { userId: 8, info: { name: "Eve" }, since: 1 };
let server;
let people;

beforeEach(() => {
  server = createFakeServer({ userId: 7, name: "Anna" }).install();
  people = server.presence("a");
});
afterEach(() => {
  globalThis[KEY]?.disconnect();
  delete globalThis[KEY];
  server.uninstall();
});

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Mounts a component that shows who is in a room. */
async function mount(t, room, { provide } = {}) {
  let found;
  const app = createApp({
    setup() {
      if (!provide) useWebSocket({ autoConnect: true });
      found = usePresence(room);
      const { members, total, me, error } = found;
      const names = () => members.value.map(({ info }) => info.name).join(",");
      return () => h("p", [total.value, names(), me.value?.key, error.value?.code].join(" "));
    },
  });
  if (provide) app.provide(realtimeKey, provide);
  const warnings = [];
  app.config.warnHandler = (text) => warnings.push(text);
  const host = document.createElement("div");
  app.mount(host);
  let mounted = true;
  const unmount = () => {
    if (mounted) app.unmount();
    mounted = false;
  };
  t.after(() => {
    unmount();
    assert.deepEqual(warnings, []);
  });
  await turn();
  return { presence: found, unmount, text: () => nextTick(() => host.textContent) };
}

test("shows who is in the room while the component is mounted", async (t) => {
  const { presence, text, unmount } = await mount(t, "a");
  assert.equal(await text(), "1 Anna 7 ");
  people.join(EVE);
  assert.equal(await text(), "2 Eve,Anna 7 ");
  people.leave(8);
  assert.equal(await text(), "1 Anna 7 ");
  for (const key of ["members", "total", "me", "error"]) assert.ok(isReadonly(presence[key]));
  unmount();
  await turn();
  assert.equal(people.total, 0);
});

test("members are those of the client, not copies", async (t) => {
  const { presence } = await mount(t, "a");
  const realtime = globalThis[KEY];
  assert.equal(presence.members.value, realtime.presence("a").members);
  assert.equal(toRaw(presence.me.value), realtime.presence("a").me);
});

test("sets the state of the own member, and hears of others", async (t) => {
  const { presence, text, unmount } = await mount(t, "a");
  const seen = [];
  const off = presence.on("join", ({ key }) => seen.push(key));
  presence.on("leave", ({ key }) => seen.push(`-${key}`));
  await presence.setState({ typing: true });
  assert.deepEqual([people.members[0].state, presence.me.value.state], Array(2).fill({ typing: true }));
  people.join(EVE);
  people.leave(8);
  off();
  people.join(EVE);
  assert.deepEqual(seen, ["8", "-8"]);
  unmount();
  people.leave(8);
  assert.deepEqual(seen, ["8", "-8"]);
  await assert.rejects(presence.setState({}), { code: "NOT_IN_ROOM" });
  assert.equal(await text(), "");
});

test("follows a room that changes, or none", async (t) => {
  const other = server.presence("b");
  other.join({ userId: 9, info: { name: "Leo" }, since: 2 });
  const room = ref(null);
  const { presence, text } = await mount(t, () => room.value);
  const seen = [];
  presence.on("join", ({ key }) => seen.push(key));
  assert.equal(await text(), "0   ");
  await assert.rejects(presence.setState({}), { code: "NOT_IN_ROOM" });
  room.value = "a";
  await nextTick();
  await turn();
  assert.equal(await text(), "1 Anna 7 ");
  people.join(EVE);
  room.value = "b";
  await nextTick();
  await turn();
  assert.equal(await text(), "2 Leo,Anna 7 ");
  people.join({ userId: 10 });
  other.join({ userId: 11, info: { name: "Zoe" } });
  assert.deepEqual(seen, ["8", "11"]);
  assert.deepEqual([people.total, server.last.rooms.has("a")], [2, false]);
});

test("shows why the room was not joined, until there is another one", async (t) => {
  server.refuse("subscribe", "FORBIDDEN", { room: "a" });
  const room = ref("a");
  const { text } = await mount(t, room);
  assert.equal(await text(), "0   FORBIDDEN");
  room.value = "b";
  await nextTick();
  await turn();
  assert.equal(await text(), "0   ");
});

test("forgets why the room was not joined once it is", async (t) => {
  server.refuse("subscribe", "INTERNAL_ERROR", { room: "a" });
  const { text } = await mount(t, "a");
  assert.equal(await text(), "0   INTERNAL_ERROR");
  await globalThis[KEY].subscribe("a");
  await turn();
  assert.equal(await text(), "1 Anna 7 ");
});

test("components share the room, and the page keeps what it has subscribed to itself", async (t) => {
  const first = await mount(t, "a");
  const second = await mount(t, "a");
  first.unmount();
  await turn();
  assert.equal(await second.text(), "1 Anna 7 ");
  await globalThis[KEY].subscribe("a");
  second.unmount();
  await turn();
  assert.deepEqual([people.total, globalThis[KEY].rooms], [1, ["a"]]);
});

test("another component's unsubscribe does not end it", async (t) => {
  const { text } = await mount(t, "a");
  const scope = effectScope();
  const { subscribe, unsubscribe } = scope.run(() => useWebSocket());
  await subscribe("a");
  await unsubscribe("a");
  await unsubscribe("a");
  assert.equal(await text(), "1 Anna 7 ");
  assert.equal(people.total, 1);
  scope.stop();
});

test("an app may provide a client of its own", async (t) => {
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket: server.WebSocket, autoConnect: true });
  t.after(() => realtime.disconnect());
  const { text } = await mount(t, "a", { provide: realtime });
  assert.equal(await text(), "1 Anna 7 ");
  assert.equal(globalThis[KEY], undefined);
});
