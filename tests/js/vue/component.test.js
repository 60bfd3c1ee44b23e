/** The composable in Vue components, in a document, with a fake server. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { createFakeServer } from "../../../pm_realtime/static/pm_realtime_testing/testing.js";
import { document } from "./page.js";

const { createApp, effectScope, h, isReadonly, isRef, nextTick, shallowRef, watch } = await import("vue");
const { createRealtime } = await import("../../../pm_realtime/browser/client.js");
const { realtimeKey, useWebSocket } = await import("../../../pm_realtime/browser/vue.js");

const KEY = Symbol.for("pm_realtime");
let server;

beforeEach(() => {
  server = createFakeServer({ userId: 7, role: "editor" }).install();
});
afterEach(() => {
  globalThis[KEY]?.disconnect();
  delete globalThis[KEY];
  server.uninstall();
});

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Mounts a component for each setup function; `hide(index)` unmounts one. */
function mount(t, ...setups) {
  const shown = shallowRef(setups.map(() => true));
  const sockets = [];
  const components = setups.map((setup, index) => ({
    setup() {
      sockets[index] = setup();
      const { connected, role, userId, connectionId } = sockets[index];
      return () =>
        h("p", [connected.value, role.value, userId.value, connectionId.value].join(" "));
    },
  }));
  const host = document.createElement("div");
  const app = createApp({
    render: () => components.map((component, index) => (shown.value[index] ? h(component) : null)),
  });
  app.mount(host);
  let mounted = true;
  const unmount = () => mounted && app.unmount();
  t.after(() => unmount());
  return {
    sockets,
    host,
    texts: () => [...host.querySelectorAll("p")].map((element) => element.textContent),
    async hide(...indexes) {
      shown.value = shown.value.map((value, index) => value && !indexes.includes(index));
      await nextTick();
    },
    unmount() {
      unmount();
      mounted = false;
    },
  };
}

const plain = () => useWebSocket();
const automatic = () => useWebSocket({ autoConnect: true });
const sentTypes = () => server.sent.map(({ type, payload }) => [type, payload?.room]);

test("the refs follow the connection", async (t) => {
  const page = mount(t, automatic);
  assert.deepEqual(page.texts(), ["false   "]);
  await turn();
  assert.deepEqual(page.texts(), ["true editor 7 fake-1"]);
  server.close(4501);
  await nextTick();
  assert.deepEqual(page.texts(), ["false   "]);
  assert.equal(page.sockets[0].closeCode.value, 4501);
  assert.equal(page.sockets[0].status.value, "stopped");
});

test("has the state as readonly refs, and all methods of the client", (t) => {
  const [socket] = mount(t, plain).sockets;
  const state = ["connected", "connectionId", "userId", "role", "status", "closeCode"];
  for (const key of [...state, "recovered"]) {
    assert.ok(isRef(socket[key]) && isReadonly(socket[key]), key);
  }
  const realtime = globalThis[KEY];
  const methods = Object.keys(realtime).filter((key) => typeof realtime[key] === "function");
  assert.deepEqual(
    methods.filter((name) => typeof socket[name] !== "function"),
    [],
  );
});

test("components and the page share one socket", async (t) => {
  const page = mount(t, automatic, automatic, plain);
  await turn();
  assert.equal(server.connections.length, 1);
  assert.deepEqual(page.texts(), Array(3).fill("true editor 7 fake-1"));
  const other = mount(t, automatic);
  assert.deepEqual(other.texts(), ["true editor 7 fake-1"]);
  assert.equal(server.connections.length, 1);
  assert.ok((await page.sockets[2].ping()) >= 0);
});

test("unmounting removes the handlers of this component only", async (t) => {
  const seen = [];
  const page = mount(
    t,
    () => {
      const socket = automatic();
      socket.on("news", () => seen.push("a"));
      socket.once("news", () => seen.push("a once"));
      socket.once("rare", () => seen.push("a rare"));
      return socket;
    },
    () => {
      const socket = automatic();
      socket.on("news", () => seen.push("b"));
      return socket;
    },
  );
  await turn();
  server.push("news");
  server.push("news");
  assert.deepEqual(seen.splice(0), ["a", "a once", "b", "a", "b"]);
  await page.hide(0);
  server.push("news");
  server.push("rare");
  assert.deepEqual(seen, ["b"]);
});

test("the function that on() returns removes the handler", async (t) => {
  const seen = [];
  const page = mount(t, automatic);
  const [socket] = page.sockets;
  await turn();
  socket.on("news", () => seen.push(1))();
  socket.once("news", () => seen.push(2))();
  server.push("news");
  assert.deepEqual(seen, []);
});

test("a room is left when its last component is unmounted", async (t) => {
  const inRoom = () => {
    const socket = automatic();
    socket.subscribe("a");
    socket.subscribe("a");
    return socket;
  };
  const page = mount(t, inRoom, inRoom);
  await turn();
  await page.hide(0);
  assert.deepEqual([...server.last.rooms], ["a"]);
  await page.hide(1);
  await turn();
  assert.deepEqual([...server.last.rooms], []);
  assert.equal(server.sentOf("unsubscribe").length, 1);
  assert.equal(server.connections.length, 1);
  assert.ok(server.last.open, "the connection belongs to the page");
});

test("unsubscribe() leaves a room when the last component has left it", async (t) => {
  const page = mount(t, automatic, automatic);
  const [one, two] = page.sockets;
  await turn();
  await Promise.all([one.subscribe("a"), two.subscribe("a")]);
  const { type, payload } = await one.unsubscribe("a");
  assert.deepEqual([type, payload], ["unsubscribed", { room: "a", success: true }]);
  assert.deepEqual([...server.last.rooms], ["a"]);
  await one.unsubscribe("a");
  assert.deepEqual([...server.last.rooms], ["a"], "a second time does not count for the other component");
  await two.unsubscribe("a");
  assert.deepEqual([...server.last.rooms], []);
  await page.hide(0, 1);
  await turn();
  assert.equal(server.sentOf("unsubscribe").length, 1);
});

test("a room that the page joined itself stays after its components", async (t) => {
  const page = mount(t, automatic);
  await turn();
  await globalThis[KEY].subscribe("a");
  await page.sockets[0].subscribe("a");
  await page.hide(0);
  await turn();
  assert.deepEqual([...server.last.rooms], ["a"]);
});

test("a refused room does not count for its component", async (t) => {
  const page = mount(t, automatic, automatic);
  const [one, two] = page.sockets;
  await turn();
  server.refuse("subscribe", "FORBIDDEN");
  await assert.rejects(one.subscribe("a"), { code: "FORBIDDEN" });
  await two.subscribe("a");
  await page.hide(0);
  await turn();
  assert.deepEqual([...server.last.rooms], ["a"]);
  await page.hide(1);
  await turn();
  assert.deepEqual([...server.last.rooms], []);
});

test("unmounting does not leave a room that was refused to the component and joined by the page", async (t) => {
  const page = mount(t, automatic);
  await turn();
  server.refuse("subscribe", "FORBIDDEN");
  await assert.rejects(page.sockets[0].subscribe("a"), { code: "FORBIDDEN" });
  await globalThis[KEY].subscribe("a");
  await page.hide(0);
  await turn();
  assert.deepEqual([...server.last.rooms], ["a"]);
});

test("unmounting before the connection cancels the subscription", async (t) => {
  const page = mount(t, plain);
  const [socket] = page.sockets;
  const joined = socket.subscribe("a");
  page.unmount();
  await assert.rejects(joined, { code: "CANCELLED" });
  socket.connect();
  await turn();
  assert.deepEqual(sentTypes(), []);
});

test("calls after unmounting do nothing", async (t) => {
  const seen = [];
  const page = mount(t, automatic);
  const [socket] = page.sockets;
  await turn();
  page.unmount();
  await assert.rejects(socket.subscribe("a"), { code: "CANCELLED" });
  socket.on("news", () => seen.push(1));
  socket.once("news", () => seen.push(1));
  server.push("news");
  assert.deepEqual([seen, sentTypes()], [[], []]);
});

test("a reconnect joins the rooms of components again", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const page = mount(t, automatic);
  await turn();
  await page.sockets[0].subscribe("a");
  server.close(4012);
  await new Promise((resolve) => page.sockets[0].once(":open", resolve));
  await turn();
  assert.deepEqual([...server.last.rooms], ["a"]);
  assert.equal(server.connections.length, 2);
});

test("`recovered` says if something is missing, anew for each connection", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const [socket] = mount(t, automatic).sockets;
  const seen = [];
  watch(socket.recovered, (value) => seen.push(value), { flush: "sync" });
  await turn();
  await socket.subscribe("a");
  assert.equal(socket.recovered.value, undefined);
  const breakFor = async (action) => {
    server.drop();
    action();
    await server.recover();
    await turn();
  };
  await breakFor(() => server.push("news", 1, { room: "a" }));
  assert.equal(socket.recovered.value, true);
  server.last.frame("gap", {}, { room: "a", cursor: "9" });
  for (let count = 0; count < 2; count += 1) await breakFor(server.forgetHistory);
  server.close(4501);
  assert.deepEqual(seen, [true, false, undefined, false, undefined, false, undefined]);
  assert.equal(mount(t, plain).sockets[0].recovered, socket.recovered);
});

test("a component names the place in a room from which it wants the messages", async (t) => {
  const [socket] = mount(t, automatic).sockets;
  const seen = [];
  socket.on("news", ({ payload }) => seen.push(payload));
  for (const n of [1, 2, 3]) server.push("news", n, { room: "a" });
  await turn();
  const { recovered } = await socket.subscribe("a", { last: 2 });
  await turn();
  assert.deepEqual([seen, recovered], [[2, 3], undefined]);
});

test("a new component does not undo disconnect()", async (t) => {
  const first = mount(t, automatic);
  await turn();
  first.sockets[0].disconnect();
  mount(t, automatic);
  await turn();
  assert.equal(server.connections.length, 1);
});

test("an app can have a client of its own", async (t) => {
  const realtime = createRealtime({ url: "ws://other/", WebSocket: server.WebSocket });
  t.after(() => realtime.disconnect());
  let socket;
  const app = createApp({
    setup() {
      socket = automatic();
      return () => null;
    },
  });
  app.provide(realtimeKey, realtime);
  app.mount(document.createElement("div"));
  await turn();
  assert.equal(server.last.url, "ws://other/");
  assert.equal(socket.connected.value, true);
  assert.equal(globalThis[KEY], undefined);
  app.unmount();
});

test("handlers end with their effect scope, and last without one", async () => {
  const seen = [];
  const scope = effectScope();
  scope.run(() => automatic().on("news", () => seen.push("scope")));
  plain().on("news", () => seen.push("page"));
  await turn();
  server.push("news");
  scope.stop();
  server.push("news");
  assert.deepEqual(seen, ["scope", "page", "page"]);
});

test("a thousand components leave nothing behind", async (t) => {
  const page = mount(t, automatic);
  await turn();
  const realtime = globalThis[KEY];
  let listeners = 0;
  const { on } = realtime;
  realtime.on = (...args) => {
    const off = on(...args);
    listeners += 1;
    return () => {
      listeners -= 1;
      off();
    };
  };
  for (let round = 0; round < 1000; round += 1) {
    const scope = effectScope();
    scope.run(() => {
      const socket = plain();
      socket.on("news", () => {});
      socket.once("news", () => {});
      socket.subscribe(`room:${round % 5}`);
    });
    scope.stop();
  }
  await turn();
  assert.equal(listeners, 0);
  assert.deepEqual(realtime.rooms, []);
  assert.deepEqual([...server.last.rooms], []);
  assert.deepEqual(page.texts(), ["true editor 7 fake-1"]);
});
