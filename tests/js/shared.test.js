/** Tabs that share a socket: rooms, replies and users. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { canShare } from "../../pm_realtime/browser/shared.js";
import { accept, answerAll, clientsIn, createBrowser, ids, tabsIn } from "./browser.js";
import { fakePage } from "./fake_page.js";
import { rest } from "./fake_tabs.js";

test("ten tabs have one socket, and each gets its connected frame", async (t) => {
  const { browser } = createBrowser(t);
  const { clients } = await tabsIn(browser, 10);
  assert.equal(browser.sockets.length, 1);
  for (const client of clients) {
    assert.deepEqual(client.connected.map(({ connectionId }) => connectionId), ["c1"]);
  }
});

test("messages of a room reach its tabs, messages for the user reach all tabs", async (t) => {
  const { browser } = createBrowser(t);
  const { clients: [one, two, three], server } = await tabsIn(browser, 3);
  one.say("subscribe", { room: "a" }, "s1");
  two.say("subscribe", { room: "b" }, "s2");
  await rest();
  await answerAll(server);
  server.frame("message", { room: "a", content: 1 }, { room: "a", id: "m" });
  server.frame("news", { n: 2 }, { room: "b" });
  server.frame("notification", { title: "For the user" });
  await rest();
  assert.deepEqual([one, two, three].map(({ frames }) => frames.map(({ type }) => type)), [
    ["subscribed", "message", "notification"],
    ["subscribed", "news", "notification"],
    ["notification"],
  ]);
});

test("a reply goes to the tab that sent the command", async (t) => {
  const { browser } = createBrowser(t);
  const { clients: [one, two], server } = await tabsIn(browser, 2);
  one.say("ping", undefined, "same");
  await rest();
  two.say("ping", undefined, "same");
  await rest();
  server.reply({ id: "same" }, "pong", 1);
  server.reply({ id: "same" }, "pong", 2);
  await rest();
  assert.deepEqual([one, two].map((each) => each.of("pong").map(({ payload }) => payload)), [[1], [2]]);
});

test("tabs that subscribe to one room share the server's answer", async (t) => {
  const { browser, tick } = createBrowser(t);
  const { clients: [one, two, three], server } = await tabsIn(browser, 3);
  one.say("subscribe", { room: "a" }, "s1");
  two.say("subscribe", { room: "a" }, "s2");
  await rest();
  assert.equal(server.sentOf("subscribe").length, 1);
  await answerAll(server);
  three.say("subscribe", { room: "a" }, "s3");
  await rest();
  assert.equal(server.sentOf("subscribe").length, 1);
  assert.deepEqual([one, two, three].map((each) => ids(each, "subscribed")), [["s1"], ["s2"], ["s3"]]);
  await tick(5000);
  three.say("subscribe", { room: "a" }, "s4");
  await rest();
  assert.equal(server.sentOf("subscribe").length, 2);
});

test("a room is left when its last tab leaves or crashes", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs, clients: [, two, three], server } = await tabsIn(browser, 4);
  for (const client of [two, three]) client.say("subscribe", { room: "a" });
  await rest();
  await answerAll(server);
  two.say("unsubscribe", { room: "a" }, "u2");
  await rest();
  assert.deepEqual(two.of("unsubscribed").map(({ id }) => id), ["u2"]);
  assert.equal(server.sentOf("unsubscribe").length, 0);
  tabs[2].kill();
  await rest();
  assert.deepEqual(server.sentOf("unsubscribe").map(({ payload }) => payload), [{ room: "a" }]);
});

test("two messages with one id on the same socket are both shown", async (t) => {
  const { browser } = createBrowser(t);
  const { clients: [one], server } = await tabsIn(browser, 1, ["a"]);
  for (const content of [1, 2]) server.frame("message", { room: "a", content }, { room: "a", id: "x" });
  await rest();
  assert.deepEqual(ids(one), ["x", "x"]);
});

test("tabs are told of a close, and reconnect on one socket", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs, clients, server } = await tabsIn(browser, 3);
  server.close(1012, "restart");
  await rest();
  for (const client of clients) assert.deepEqual(client.closes, [[1012, "restart"]]);
  assert.deepEqual(browser.locks.names, []);
  const again = tabs.map((tab) => tab.join());
  await rest();
  assert.equal(browser.sockets.length, 2);
  await accept(browser);
  for (const client of again) assert.equal(client.connected.length, 1);
});

test("when the session ends, all tabs are told and none reconnects", async (t) => {
  const { browser, tick } = createBrowser(t);
  const { clients, server } = await tabsIn(browser, 10);
  server.close(4501, "logged out");
  await tick(10_000);
  for (const client of clients) assert.deepEqual(client.closes, [[4501, "logged out"]]);
  assert.equal(browser.sockets.length, 1);
  assert.deepEqual(browser.locks.names, []);
  assert.equal(browser.channels.size, 0);
});

test("a tab of another user opens its own socket", async (t) => {
  const { browser } = createBrowser(t);
  const anna = browser.tab().join("anna");
  await rest();
  await accept(browser, { userId: 1 });
  const bert = browser.tab().join("bert");
  await rest();
  await accept(browser, { userId: 2 });
  browser.sockets[0].frame("notification", { title: "For Anna" });
  await rest();
  assert.deepEqual([anna, bert].map(({ frames }) => frames.length), [1, 0]);
});

test("without a key, a tab asks the server for its user and joins that user's tabs", async (t) => {
  const { browser } = createBrowser(t);
  const [anna, bert, alsoAnna] = [1, 2, 1].map((userId) => {
    const tab = browser.tab();
    const client = tab.join(true);
    return { client, userId };
  });
  // One tab asks at a time. If tabs share a socket already, it asks with `who`.
  for (const { userId } of [anna, bert]) {
    await rest();
    await accept(browser, { userId });
  }
  const questions = browser.sockets.map(({ url }) => url.includes("who="));
  assert.deepEqual(questions, [false, true, true, false]);
  browser.sockets[2].accept({ userId: alsoAnna.userId });
  await accept(browser, { userId: bert.userId });
  assert.equal(browser.open.length, 2);
  browser.sockets[0].frame("notification", { title: "For Anna" });
  await rest();
  assert.deepEqual([anna, bert, alsoAnna].map(({ client }) => client.frames.length), [1, 0, 1]);
  assert.deepEqual([anna, alsoAnna].map(({ client }) => client.connected[0].connectionId), ["c1", "c1"]);
});

test("without a key, frames that come while a tab asks are not lost", async (t) => {
  const { browser } = createBrowser(t);
  const client = browser.tab().join(true);
  await rest();
  browser.WebSocket.last.accept();
  browser.WebSocket.last.frame("notification", { title: "Early" });
  await rest();
  assert.equal(client.of("notification").length, 1);
});

test("a tab that freezes while it asks does not block the others", async (t) => {
  const { browser } = createBrowser(t);
  const [first, second] = [browser.tab(), browser.tab()];
  const client = first.join(true);
  await rest();
  first.sleep();
  const other = second.join(true);
  await rest();
  await accept(browser);
  assert.equal(other.connected.length, 1);
  assert.deepEqual(client.closes.map(([code]) => code), [1006]);
  assert.equal(browser.open.length, 1);
});

test("while the socket is suspect, messages wait for the answer", async (t) => {
  const { browser } = createBrowser(t);
  const { clients: [, two, three], server } = await tabsIn(browser, 3);
  two.socket.suspect(true);
  await rest();
  const [ping] = server.sentOf("ping");
  assert.equal(two.say("message", { room: "a", content: 1 }, "m1"), false);
  assert.equal(three.say("message", { room: "a", content: 2 }, "m2"), true);
  await rest();
  assert.equal(server.sentOf("message").length, 0);
  server.reply(ping, "pong");
  await rest();
  assert.deepEqual(server.sentOf("message").map(({ id }) => id), ["m2"]);
  assert.equal(two.healthy, 1);
  assert.equal(two.say("message", { room: "a", content: 1 }, "m1"), true);
});

test("without locks each tab opens its own socket", async (t) => {
  const { browser } = createBrowser(t);
  const tab = browser.tab();
  delete tab.navigator.locks;
  assert.equal(canShare(tab), false);
  const clients = [tab.join(), tab.join()];
  assert.equal(browser.sockets.length, 2);
  browser.sockets[0].accept();
  assert.deepEqual(clients.map(({ connected }) => connected.length), [1, 0]);
});

test("the ids of the leader's own commands cannot be guessed", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs, clients: [one], server } = await tabsIn(browser, 2, ["a", "b"]);
  tabs[1].kill();
  one.say("unsubscribe", { room: "b" });
  tabs[0].dispatchEvent(new Event("unrelated"));
  await rest();
  one.say("subscribe", { room: "c" });
  const other = browser.tab();
  const client = other.join();
  client.rooms = ["d", "e"];
  await rest();
  await answerAll(server);
  other.kill();
  await rest();
  const sent = server.sentOf("unsubscribe").filter(({ payload }) => "de".includes(payload.room));
  assert.equal(sent.length, 2);
  for (const { id } of sent) assert.match(id, /^[0-9a-f]{32}$/);
  assert.notEqual(sent[0].id, sent[1].id);
});

test("a hanging attempt of the shared socket starts anew once for all tabs", async (t) => {
  const { browser, tick } = createBrowser(t);
  const clients = [browser.tab().join(), browser.tab().join()];
  await rest();
  assert.equal(browser.sockets.length, 1);
  for (const { socket } of clients) socket.reopen();
  await rest();
  assert.equal(browser.sockets.length, 2);
  assert.equal(browser.open.length, 1);
  await tick(500);
  clients[1].socket.reopen();
  await rest();
  assert.equal(browser.sockets.length, 3);
  await accept(browser);
  for (const client of clients) assert.deepEqual([client.connected.length, client.closes], [1, []]);
  await tick(500);
  clients[1].socket.reopen();
  await rest();
  assert.equal(browser.sockets.length, 3, "a connection stays");
});

test("a hanging question for the user starts anew", async (t) => {
  const { browser } = createBrowser(t);
  const client = browser.tab().join(true);
  await rest();
  client.socket.reopen();
  await rest();
  assert.equal(browser.sockets.length, 2);
  await accept(browser);
  assert.equal(client.connected.length, 1);
});

test("a thousand tabs leave nothing behind", async (t) => {
  const { browser } = createBrowser(t);
  for (let count = 0; count < 1000; count += 1) {
    const client = browser.tab().join();
    await rest();
    browser.WebSocket.last.accept();
    client.socket.close();
    await rest();
  }
  assert.equal(browser.open.length, 0);
  assert.deepEqual([browser.locks.names, browser.locks.waiting], [[], 0]);
  assert.equal(browser.channels.size, 0);
});

test("a tab that waits to reconnect joins as soon as another tab has the socket", async (t) => {
  const { browser, tick } = createBrowser(t);
  const other = browser.tab();
  other.join("anna", "ws://site.test/");
  await rest();
  await accept(browser);
  const [realtime, stopped] = await clientsIn(t, browser.tab(), 2);
  assert.deepEqual([realtime.connected, stopped.connected], [true, true]);
  browser.WebSocket.last.close(1012);
  await rest();
  assert.equal(realtime.status, "waiting");
  stopped.disconnect();
  other.join("anna", "ws://site.test/");
  await rest();
  assert.equal(realtime.status, "waiting");
  await accept(browser);
  assert.deepEqual([realtime.status, stopped.status], ["connected", "stopped"]);
  assert.equal(realtime.connectionId, "c2");
  await tick(3000);
  assert.equal(browser.sockets.length, 2);
  realtime.disconnect();
  await rest();
  assert.equal(browser.channels.size, 1);
});

test("a tab that rests joins as soon as another tab has the socket", async (t) => {
  const { browser, tick } = createBrowser(t);
  const [realtime] = await clientsIn(t, browser.tab(), 1, { maxReconnectAttempts: 0 });
  await accept(browser);
  browser.WebSocket.last.close(1006);
  await rest();
  assert.equal(realtime.status, "stopped");
  await tick(60_000);
  assert.equal(browser.sockets.length, 1);
  browser.tab().join("anna", "ws://site.test/");
  await rest();
  await accept(browser);
  assert.deepEqual([realtime.status, realtime.connectionId], ["connected", "c2"]);
});

test("tabs that were replaced wait until one of them becomes visible, and then share its socket", async (t) => {
  const { browser, tick } = createBrowser(t);
  const page = fakePage(t);
  const [front, back] = await clientsIn(t, browser.tab(), 2);
  await accept(browser);
  browser.WebSocket.last.close(4502);
  await rest();
  await tick(60_000);
  assert.deepEqual([browser.sockets.length, front.closeCode, back.closeCode], [1, 4502, 4502]);
  back.disconnect();
  page.show("hidden");
  page.show("visible");
  await rest();
  assert.equal(browser.sockets.length, 2);
  await accept(browser);
  assert.deepEqual([front.status, back.status], ["connected", "stopped"]);
});

test("tabs that follow another one do not push out the browser that has replaced it", async (t) => {
  const { browser, tick } = createBrowser(t);
  const clients = await clientsIn(t, browser.tab(), 3);
  await accept(browser);
  browser.WebSocket.last.close(4502);
  await rest();
  clients[0].connect();
  await rest();
  // Before the others have joined.
  browser.WebSocket.last.accept({ connectionId: "c2" });
  browser.WebSocket.last.close(4502);
  await tick(60_000);
  assert.equal(browser.sockets.length, 2);
  assert.deepEqual(clients.map(({ status, closeCode }) => [status, closeCode]), Array(3).fill(["stopped", 4502]));
  clients[0].connect();
  await rest();
  await accept(browser);
  assert.deepEqual(clients.map(({ status }) => status), Array(3).fill("connected"));
  assert.equal(browser.sockets.length, 3);
});

test("a tab that was replaced and stays visible joins the socket of another tab", async (t) => {
  const { browser } = createBrowser(t);
  const [realtime] = await clientsIn(t, browser.tab(), 1);
  await accept(browser);
  browser.WebSocket.last.close(4502);
  await rest();
  browser.tab().join("anna", "ws://site.test/");
  await rest();
  await accept(browser);
  assert.deepEqual([realtime.status, browser.open.length], ["connected", 1]);
});
