/** The composable in server-side rendering, where nothing of a browser exists. */
import assert from "node:assert/strict";
import { test } from "node:test";

import "./packages.js";

const touched = [];
for (const name of ["window", "WebSocket", "location", "BroadcastChannel"]) {
  Object.defineProperty(globalThis, name, {
    configurable: true,
    get() {
      touched.push(name);
      return undefined;
    },
  });
}

const { createSSRApp, h, isReadonly } = await import("vue");
const { renderToString } = await import("vue/server-renderer");
const { useCommand, usePresence, useWebSocket } = await import("../../../pm_realtime/browser/vue.js");

// Vue itself looks for these when it is loaded and at the first rendering.
await renderToString(createSSRApp({ render: () => null }));

function render(use) {
  return renderToString(createSSRApp({ setup: () => use(useWebSocket({ autoConnect: true })) }));
}

test("renders as not connected and touches nothing of a browser", async () => {
  touched.length = 0;
  const html = await render(({ connected, role }) => () => h("p", `${connected.value} ${role.value}`));
  assert.equal(html, "<p>false null</p>");
  assert.deepEqual(touched, []);
  assert.equal(globalThis[Symbol.for("pm_realtime")], undefined);
});

test("all methods exist and do nothing", async () => {
  let socket;
  await render((given) => {
    socket = given;
    return () => null;
  });
  socket.connect();
  socket.disconnect();
  socket.on("news", () => {})();
  socket.once("news", () => {})();
  for (const name of ["send", "sendMessage", "sendToRoom", "call", "subscribe", "unsubscribe", "ping"]) {
    await assert.rejects(socket[name]("a"), { code: "NOT_CONNECTED" });
  }
  socket.subscribe("ignored");
  const { store, members, on } = socket.presence("a");
  on("join", () => {})();
  store.subscribe(() => {})();
  assert.deepEqual([members, store.getSnapshot().total], [[], 0]);
  for (const name of ["connected", "connectionId", "userId", "role", "status", "closeCode", "recovered"]) {
    assert.ok(isReadonly(socket[name]), name);
  }
  await new Promise((resolve) => setImmediate(resolve));
});

test("a command is not called, and stays without a state", async () => {
  touched.length = 0;
  let command;
  const html = await renderToString(
    createSSRApp({
      setup() {
        command = useCommand("bid", { room: () => "auction:7" });
        const { pending, error, result } = command;
        return () => h("p", `${pending.value} ${error.value} ${result.value}`);
      },
    }),
  );
  assert.equal(html, "<p>false null undefined</p>");
  command.call("ignored");
  await assert.rejects(command.call(1), { code: "NOT_CONNECTED" });
  assert.deepEqual([command.pending.value, command.error.value], [false, null]);
  assert.deepEqual(touched, []);
  assert.equal(globalThis[Symbol.for("pm_realtime")], undefined);
});

test("nobody is in a room", async () => {
  touched.length = 0;
  let presence;
  const html = await renderToString(
    createSSRApp({
      setup() {
        presence = usePresence("a");
        const { members, total, me, error } = presence;
        return () => h("p", [members.value.length, total.value, me.value, error.value].join(" "));
      },
    }),
  );
  assert.equal(html, "<p>0 0  </p>");
  presence.on("join", () => {})();
  presence.setState({ ignored: true });
  await assert.rejects(presence.setState(null), { code: "NOT_CONNECTED" });
  assert.deepEqual(touched, []);
  assert.equal(globalThis[Symbol.for("pm_realtime")], undefined);
});

test("is inert even if the server has a document", async (t) => {
  globalThis.document = {};
  t.after(() => delete globalThis.document);
  touched.length = 0;
  assert.equal(await render(({ connected }) => () => h("p", String(connected.value))), "<p>false</p>");
  assert.deepEqual(touched, []);
});

test("is inert outside of any app", () => {
  assert.equal(useWebSocket({ autoConnect: true }).connected.value, false);
});
