/** The composable where pages are rendered on a server: nothing of a browser is touched. */
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
const { useWebSocket } = await import("../../../pm_realtime/browser/vue.js");

// What Vue itself looks for, it looks for as it is loaded and first renders.
await renderToString(createSSRApp({ render: () => null }));

function render(use) {
  return renderToString(createSSRApp({ setup: () => use(useWebSocket({ autoConnect: true })) }));
}

test("it renders as not connected, and touches no window", async () => {
  touched.length = 0;
  const html = await render(({ connected, role }) => () => h("p", `${connected.value} ${role.value}`));
  assert.equal(html, "<p>false null</p>");
  assert.deepEqual(touched, []);
  assert.equal(globalThis[Symbol.for("pm_realtime")], undefined);
});

test("everything is there and does nothing", async () => {
  let socket;
  await render((given) => {
    socket = given;
    return () => null;
  });
  socket.connect();
  socket.disconnect();
  socket.on("news", () => {})();
  socket.once("news", () => {})();
  for (const name of ["send", "sendMessage", "sendToRoom", "subscribe", "unsubscribe", "ping"]) {
    await assert.rejects(socket[name]("a"), { code: "NOT_CONNECTED" });
  }
  socket.subscribe("ignored");
  for (const name of ["connected", "connectionId", "userId", "role", "status", "closeCode"]) {
    assert.ok(isReadonly(socket[name]), name);
  }
  await new Promise((resolve) => setImmediate(resolve));
});

test("nor where the server has a document, as some test environments have", async (t) => {
  globalThis.document = {};
  t.after(() => delete globalThis.document);
  touched.length = 0;
  assert.equal(await render(({ connected }) => () => h("p", String(connected.value))), "<p>false</p>");
  assert.deepEqual(touched, []);
});

test("nor in a scope outside of any app", () => {
  assert.equal(useWebSocket({ autoConnect: true }).connected.value, false);
});
