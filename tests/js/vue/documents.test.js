/** The component of the documentation, unchanged. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createFakeServer } from "../../../pm_realtime/static/pm_realtime_testing/testing.js";
import { block } from "../documents.js";
import { document } from "./page.js";

const VUE = new URL("../../../pm_realtime/static/pm_realtime/vue.js", import.meta.url).href;
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("the component shows and sends messages", async (t) => {
  const server = createFakeServer({ role: "editor" }).install();
  const code = block("docs/client.md", "vue: component")
    .replace('"@pm-realtime/client/vue"', JSON.stringify(VUE))
    .replace('"vue"', JSON.stringify(import.meta.resolve("vue")));
  const { default: component } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  const { createApp } = await import("vue");
  const host = document.createElement("div");
  const app = createApp(component);
  app.mount(host);
  t.after(() => {
    app.unmount();
    globalThis[Symbol.for("pm_realtime")].disconnect();
    server.uninstall();
  });
  assert.equal(host.querySelector("p").textContent, "Not connected");
  await turn();
  assert.equal(host.querySelector("p").textContent, "Connected as editor");
  host.querySelector("button").click();
  await turn();
  assert.deepEqual([...host.querySelectorAll("li")].map((item) => item.textContent), ["Hello"]);
});
