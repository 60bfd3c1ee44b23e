/** The component of the documentation, unchanged. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createFakeServer } from "../../../pm_realtime/static/pm_realtime_testing/testing.js";
import { block } from "../documents.js";
import { document } from "./page.js";

const VUE = new URL("../../../pm_realtime/static/pm_realtime/vue.js", import.meta.url).href;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Mounts the component of an example. */
async function mount(t, mark, { props, ...options } = {}) {
  const server = createFakeServer({ role: "editor", ...options }).install();
  const code = block("docs/client.md", mark)
    .replace('"@pm-realtime/client/vue"', JSON.stringify(VUE))
    .replace('"vue"', JSON.stringify(import.meta.resolve("vue")));
  const { default: component } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  const { createApp } = await import("vue");
  const host = document.createElement("div");
  const app = createApp(component, props);
  app.mount(host);
  t.after(() => {
    app.unmount();
    globalThis[Symbol.for("pm_realtime")].disconnect();
    delete globalThis[Symbol.for("pm_realtime")];
    server.uninstall();
  });
  return { server, host };
}

test("the component shows and sends messages", async (t) => {
  const { host } = await mount(t, "vue: component");
  assert.equal(host.querySelector("p").textContent, "Not connected");
  await turn();
  assert.equal(host.querySelector("p").textContent, "Connected as editor");
  host.querySelector("button").click();
  await turn();
  assert.deepEqual([...host.querySelectorAll("li")].map((item) => item.textContent), ["Hello"]);
});

test("the component calls a command", async (t) => {
  const { server, host } = await mount(t, "vue: command", { props: { pk: 7 } });
  let isOver = false;
  const bids = [];
  server.handle("auction.bid", async ({ amount }, { room }) => {
    bids.push([room, amount]);
    if (isOver) throw { code: "AUCTION_OVER", data: { endedAt: "noon" } };
    return { pk: bids.length };
  });
  const [input, button, note] = ["input", "button", "p"].map((name) => host.querySelector(name));
  await turn();
  const bid = async (amount) => {
    input.value = amount;
    input.dispatchEvent(new document.defaultView.Event("input"));
    button.click();
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(button.disabled, true);
    await turn();
    assert.equal(button.disabled, false);
    return note.textContent;
  };
  assert.equal(await bid("12.50"), "Your bid has the number 1.");
  isOver = true;
  assert.equal(await bid("13"), "Over since noon.");
  isOver = false;
  assert.equal(await bid("14"), "Your bid has the number 3.");
  server.refuse("auction.bid", "FORBIDDEN", { message: "Not for you." });
  assert.equal(await bid("15"), "Not for you.");
  assert.deepEqual(bids, [["auction:7", "12.50"], ["auction:7", "13"], ["auction:7", "14"]]);
});

test("the component shows who is in the room", async (t) => {
  const { server, host } = await mount(t, "vue: presence", { props: { room: "support" } });
  const others = server.presence("support");
  await turn();
  others.join({ userId: 8, info: { name: "Bob" } });
  await turn();
  const shown = () => [host.querySelector("p"), ...host.querySelectorAll("li")].map((item) => item.textContent);
  assert.deepEqual(shown(), ["2 here", "User (you)", "Bob"]);
  host.querySelector("input").value = "H";
  host.querySelector("input").dispatchEvent(new document.defaultView.Event("input"));
  await turn();
  assert.deepEqual(shown(), ["2 here", "User (you) …", "Bob"]);
  assert.deepEqual(server.sentOf("presence")[0].payload, { room: "support", state: { typing: true }, ttl: 5 });
  others.leave(8);
  await turn();
  assert.deepEqual(shown(), ["1 here", "User (you) …"]);
});
