/** The examples of the documentation, run unchanged. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { block, marks, run, turn } from "./documents.js";

const PAGE = "docs/client.md";
const example = (name) => block(PAGE, `example: ${name}`);

test("every example has a test", () => {
  const names = ["quick-start", "auto-connect", "ready", "support-chat", "call", "volatile", "presence", "leave", "react", "bfcache", "testing", "testing-commands", "testing-presence", "testing-breaks"];
  assert.deepEqual(marks(PAGE), names.map((name) => `example: ${name}`));
});

/** A page in which a client is connected to a room. The `lines` are in a function of it. */
const page = (room, lines) => `
  import { createRealtime } from "/static/pm_realtime/client.js";
  const realtime = createRealtime({ autoConnect: true });
  await realtime.subscribe("${room}");
  export async function act(x, y) {
    ${lines}
    return typeof pk === "undefined" ? null : pk;
  }`;

const COMMANDS = "docs/commands.md";

test("tests of commands", async (t) => {
  assert.deepEqual(marks(COMMANDS), ["example: volatile", "example: commands"]);
  await run(t, block(COMMANDS, "example: commands"));
});

test("a volatile message", async (t) => {
  const { server, exported } = await run(t, page("board:7", block(COMMANDS, "example: volatile")));
  await exported.act(3, 4);
  const content = { x: 3, y: 4 };
  assert.deepEqual(server.sentOf("message")[0].payload, { room: "board:7", content, volatile: true });
});

test("the README's command", async (t) => {
  const { server, exported } = await run(t, page("project:42", block("README.md", "example: call")));
  server.handle("project.rename", ({ text }, { room }) => [text, room]);
  assert.deepEqual(await exported.act(), ["Roof", "project:42"]);
});

test("the README's viewers", async (t) => {
  const { server, query, exported } = await run(t, page("other", block("README.md", "example: presence")));
  const room = server.presence("page:42");
  await exported.act();
  assert.equal(query("#viewers").textContent, "Ada");
  room.join({ userId: 8, info: { name: "Bob" } });
  assert.equal(query("#viewers").textContent, "Ada, Bob");
});

test("who is in a room", async (t) => {
  const { server, query } = await run(t, example("presence"));
  const member = (key, more) => ({ key, userId: Number(key), info: { name: `User ${key}` }, since: 1, connections: 1, ...more });
  const members = [member("7"), member("8", { state: { typing: true } }), member("9")];
  server.last.frame("subscribed", { room: "support", success: true, presence: { rev: 1, total: 3, members, me: "7" } });
  assert.equal(query("#people").textContent, "3 here: User 7, User 8, User 9");
  assert.equal(query("#typing").textContent, "User 8 …");
  query("#text").dispatchEvent(new Event("input"));
  const state = { typing: true };
  assert.deepEqual(server.sentOf("presence")[0].payload, { room: "support", state, ttl: 5 });
  server.last.frame("presence", { room: "support", rev: 2, prev: 1, total: 1, joined: [], updated: [member("7", { state })], left: ["8", "9"] });
  assert.equal(query("#people").textContent, "1 here: User 7");
  assert.equal(query("#typing").textContent, "");
});

test("a widget that leaves its room", async (t) => {
  const { server, query } = await run(t, example("leave"));
  server.push("message", { room: "project:42", content: "Hello" }, { room: "project:42" });
  server.push("message", { room: "other", content: "Not here" });
  assert.deepEqual(query("#messages").children, ["Hello"]);
  query("#close").dispatchEvent(new Event("click"));
  await turn();
  assert.deepEqual([...server.last.rooms], []);
});

test("a page that disconnects on the way out", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const { server, window } = await run(t, example("bfcache"));
  const press = (link) => {
    const target = { closest: (selector) => (selector === "a[href]" ? link : null) };
    document.dispatchEvent(Object.defineProperty(new Event("pointerdown"), "target", { value: target }));
  };
  press(null);
  assert.equal(server.last.open, true);
  press({});
  assert.equal(server.last.open, false);
  window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.equal(server.connections.length, 2);
  await turn();
  press({});
  t.mock.timers.tick(2000);
  assert.equal(server.connections.length, 3);
});

test("quick start", async (t) => {
  const { server, said } = await run(t, example("quick-start"));
  assert.match(said[0], /^[\d.]+ ms to the server and back$/);
  assert.deepEqual(server.sentOf("message")[0].payload, { room: "project:42", content: "Hello" });
  assert.equal(server.last.url, "wss://site.test/api/ws");
  server.push("notification", { title: "Your export is ready" });
  assert.equal(said[1], "Your export is ready");
});

test("the README's page", async (t) => {
  const [, code] = block("README.md", "page: client").match(/<script type="module">\n(.*)<\/script>/s);
  const { server, said } = await run(t, code);
  assert.deepEqual(said, ["Ada Hello"]);
  server.push("notification", { title: "Your export is ready" });
  assert.equal(said[1], "Your export is ready");
});

test("auto-connect", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  t.mock.method(Math, "random", () => 1);
  const { server, query } = await run(t, example("auto-connect"));
  const status = query("#status");
  assert.equal(status.textContent, "Connected as editor");
  server.goDown(4012);
  assert.equal(status.textContent, "Disconnected, again in 1 s");
  server.comeBack();
  server.logIn({ userId: null });
  t.mock.timers.tick(1000);
  await turn();
  assert.equal(status.textContent, "Connected as a visitor");
  server.close(4501);
  assert.equal(status.textContent, "You are signed out");
});

test("support chat", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const { server, query } = await run(t, example("support-chat"));
  const [input, notice] = [query("#chat").elements.text, query("#notice")];
  const lines = () => query("#messages").children.map(({ textContent }) => textContent);
  const say = async (text) => {
    input.value = text;
    query("#chat").dispatchEvent(new Event("submit", { cancelable: true }));
    await turn();
  };
  await say("one");
  assert.deepEqual(lines(), ["Ada: one"]);
  assert.equal(input.value, "");

  server.goDown();
  await say("two");
  server.comeBack();
  t.mock.timers.tick(1000);
  await turn();
  assert.deepEqual(lines(), ["Ada: one", "Ada: two"]);

  server.refuse("message", "RATE_LIMITED", { message: "Slow down." });
  await say("three");
  assert.deepEqual([input.value, notice.textContent], ["three", "Slow down."]);
  assert.deepEqual(lines(), ["Ada: one", "Ada: two"]);

  query("#chat").dispatchEvent(new Event("submit", { cancelable: true }));
  server.close();
  t.mock.timers.tick(4000);
  await turn();
  assert.deepEqual(lines(), ["Ada: one", "Ada: two", "Ada: three"]);
});

test("a call, its result and its errors", async (t) => {
  const { server, query } = await run(t, example("call"));
  const notice = query("#notice");
  query("#bid").elements.amount.value = "12.50";
  const bid = async (answer) => {
    query("#bid").dispatchEvent(new Event("submit", { cancelable: true }));
    const command = server.last.lastSent;
    assert.deepEqual([command.type, command.room, command.payload], ["auction.bid", "auction:7", { amount: "12.50" }]);
    answer(command);
    await turn();
    return notice.textContent;
  };
  const refused = (code, details) => bid((command) => server.last.refuse(command, code, details));
  assert.equal(await bid((command) => server.last.reply(command, "result", { pk: 5 })), "Your bid has the number 5.");
  assert.equal(await refused("AUCTION_OVER", { data: { endedAt: "noon" } }), "Over since noon.");
  assert.equal(await refused("INVALID_PAYLOAD", { path: "amount" }), "That is no amount.");
  assert.equal(await refused("FORBIDDEN", { message: "Not for you." }), "Not for you.");
});

test("the cursors of others", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const { server, query } = await run(t, example("volatile"));
  const move = (clientX) => {
    query("#board").dispatchEvent(Object.assign(new Event("pointermove"), { clientX, clientY: 2 }));
  };
  for (const x of [5, 6, 7]) move(x);
  t.mock.timers.tick(100);
  const sent = server.sentOf("message").map(({ id, payload }) => [id, payload]);
  assert.deepEqual(sent, [[undefined, { room: "board:7", content: { x: 7, y: 2 }, volatile: true }]]);
  const payload = { room: "board:7", content: { x: 1, y: 2 }, volatile: true };
  server.last.frame("message", { ...payload, from: { userId: 8, name: "Bob" } }, { room: "board:7" });
  assert.equal(query("#notice").textContent, "Bob is at 1, 2");
});

test("support chat with an anonymous sender", async (t) => {
  const { server, query } = await run(t, example("support-chat"));
  server.push("message", { room: "support", content: { text: "Help" } }, { room: "support" });
  assert.deepEqual(query("#messages").children.map(({ textContent }) => textContent), ["A visitor: Help"]);
});

test("support chat with a room that refuses", async (t) => {
  const code = example("support-chat");
  const { server, query } = await run(t, code, { automatic: false });
  server.last.accept({ role: "user" });
  server.last.refuse(server.last.lastSent, "FORBIDDEN", { message: "Not for you." });
  await turn();
  assert.equal(query("#notice").textContent, "Not for you.");
});

test("React", async (t) => {
  const { exported } = await run(t, example("react"));
  const { realtime, useRealtime } = exported;
  assert.equal(useRealtime().connected, false);
  let renders = 0;
  t.after(globalThis.rendered.subscribe(() => (renders += 1)));
  realtime.connect();
  await turn();
  assert.equal(useRealtime().connected, true);
  assert.equal(renders, 2);
  assert.equal(useRealtime(), useRealtime());
});

test("a site's own test", async (t) => {
  const { server } = await run(t, example("testing"));
  assert.equal(server.connections.length, 0, "the example creates its own server");
});

test("breaks in tests", async (t) => {
  await run(t, example("testing-commands"));
  await run(t, example("testing-presence"));
  await run(t, example("testing-breaks"));
});
