/** Leaders that close, crash, freeze or hang, and the tabs that replace them. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { accept, answerAll, createBrowser, ids, lastAsked, numbers, tabsIn } from "./browser.js";
import { rest } from "./fake_tabs.js";

for (const [how, end] of [["crashes", "kill"], ["is closed", "hide"]]) {
  test(`another tab leads at once when the leader ${how}`, async (t) => {
    const { browser } = createBrowser(t);
    const { tabs, clients } = await tabsIn(browser, 3, ["a"]);
    tabs[0][end]();
    await rest();
    assert.equal(browser.open.length, 1);
    await accept(browser);
    await answerAll(browser.WebSocket.last);
    assert.deepEqual(browser.WebSocket.last.sentOf("subscribe").map(({ payload }) => payload), [
      { room: "a" },
    ]);
    for (const client of clients.slice(1)) {
      assert.deepEqual(client.connected.map(({ connectionId }) => connectionId), ["c1", "c2"]);
      assert.deepEqual(client.closes, []);
      assert.equal(client.of("subscribed").length, 2);
    }
  });
}

test("the next leader sends what the last one did not, in order and after the rooms", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs, clients: [, two] } = await tabsIn(browser, 2, ["a"]);
  tabs[0].kill();
  two.say("message", { room: "a", content: 1 }, "m1");
  two.say("message", { room: "a", content: 2 }, "m2");
  await rest();
  assert.equal(two.say("message", { room: "a", content: 3 }, "m3"), false, "the client's own queue keeps it");
  await accept(browser);
  assert.deepEqual(browser.WebSocket.last.sent.map(({ type, id }) => (type === "message" ? id : type)), [
    "subscribe", "m1", "m2",
  ]);
});

test("a leader that freezes gives up the socket, and can lead again after it wakes up", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs, clients: [one, two], server } = await tabsIn(browser, 2, ["a"]);
  tabs[0].sleep();
  await rest();
  assert.notEqual(server.closedWith, null);
  await accept(browser);
  await answerAll(browser.WebSocket.last);
  browser.WebSocket.last.frame("notification", { title: "During the freeze" });
  tabs[0].wake();
  await rest();
  await answerAll(browser.WebSocket.last);
  browser.WebSocket.last.frame("message", { room: "a", content: 1 }, { room: "a", id: "m1" });
  await rest();
  for (const client of [one, two]) {
    assert.deepEqual(ids(client), ["m1"]);
    assert.deepEqual(client.closes, []);
    assert.equal(client.connected.at(-1).connectionId, "c2");
  }
  tabs[1].kill();
  await rest();
  assert.equal(browser.open.length, 1);
  assert.equal(browser.WebSocket.last.socket.tab, tabs[0]);
});

test("a frozen tab does not become the leader", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs } = await tabsIn(browser, 3);
  tabs[1].sleep();
  tabs[0].kill();
  await rest();
  assert.equal(browser.WebSocket.last.socket.tab, tabs[2]);
});

test("a leader that hangs is replaced, and follows when it is back", async (t) => {
  const { browser, tick } = createBrowser(t);
  const { tabs, clients: [one, two], server } = await tabsIn(browser, 2, ["a"]);
  tabs[0].sleep(null);
  two.say("message", { room: "a", content: 1 }, "m1");
  await tick(4500);
  assert.equal(browser.sockets.length, 2);
  assert.equal(browser.WebSocket.last.socket.tab, tabs[1]);
  await accept(browser);
  await answerAll(browser.WebSocket.last);
  assert.deepEqual(browser.WebSocket.last.sentOf("message").map(({ id }) => id), ["m1"]);
  tabs[0].wake(null);
  await rest();
  assert.notEqual(server.closedWith, null);
  assert.equal(browser.open.length, 1);
  for (const client of [one, two]) assert.equal(client.connected.at(-1).connectionId, "c2");
});

test("only visible tabs probe their leader", async (t) => {
  const { browser, tick } = createBrowser(t);
  const { tabs } = await tabsIn(browser, 3);
  tabs[2].document.visibilityState = "hidden";
  browser.said.length = 0;
  await tick(15_000);
  assert.deepEqual(new Set(browser.said.map(({ kind }) => kind)), new Set(["ask", "here"]));
  assert.equal(browser.said.filter(({ kind }) => kind === "ask").length, 3);
  assert.equal(browser.sockets.length, 1);
});

test("tabs end if the next socket is another user's", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs, clients: [, two] } = await tabsIn(browser, 2);
  tabs[0].kill();
  await rest();
  await accept(browser, { userId: 8 });
  browser.WebSocket.last.frame("notification", { title: "Not for them" });
  await rest();
  assert.deepEqual(two.closes, [[4501, "Another user has signed in."]]);
  assert.deepEqual(two.frames, []);
  assert.equal(browser.open.length, 0);
});

test("the leader keeps the socket for the others after its client has closed", async (t) => {
  const { browser } = createBrowser(t);
  const { clients: [one, two], server } = await tabsIn(browser, 2);
  one.socket.close();
  await rest();
  server.frame("notification", { title: "Still here" });
  await rest();
  assert.deepEqual([one, two].map(({ frames }) => frames.length), [0, 1]);
  assert.equal(browser.sockets.length, 1);
  two.socket.close();
  await rest();
  assert.equal(browser.open.length, 0);
  assert.deepEqual(browser.locks.names, []);
  assert.equal(browser.locks.waiting, 0);
  assert.equal(browser.channels.size, 0);
});

test("a leader that paused and was not replaced goes on", async (t) => {
  const { browser, tick } = createBrowser(t);
  t.mock.method(performance, "now", () => Date.now());
  const { tabs, clients, server } = await tabsIn(browser, 2, ["a"]);
  tabs[0].sleep(null);
  clients[1].say("message", { room: "a", content: 1 }, "m1");
  server.frame("news", 1, { room: "a" });
  await tick(3000);
  server.frame("news", 2, { room: "a" });
  tabs[0].wake(null);
  await rest();
  assert.deepEqual(clients.map(numbers), [[1, 2], [1, 2]]);
  assert.deepEqual(server.sentOf("message").map(({ id }) => id), ["m1"]);
  assert.equal(browser.sockets.length, 1);
});

test("a tab that got and lost the lock while it hung does not act as the leader", async (t) => {
  const { browser, tick } = createBrowser(t);
  const { tabs, clients: [, , three] } = await tabsIn(browser, 3, ["a"]);
  tabs[1].sleep(null);
  tabs[0].kill();
  three.say("message", { room: "a", content: 1 }, "m1");
  await tick(4500);
  await accept(browser);
  browser.said.length = 0;
  tabs[1].wake(null);
  await rest();
  assert.equal(browser.sockets.length, 2);
  assert.deepEqual(browser.said.filter(({ kind }) => kind === "leader"), []);
  assert.equal(three.say("message", { room: "a", content: 1 }, "m2"), true);
});

test("if several tabs replace a leader at once, one leads", async (t) => {
  const { browser, tick } = createBrowser(t);
  const { tabs, clients } = await tabsIn(browser, 4, ["a"]);
  tabs[0].sleep(null);
  for (const client of clients.slice(1)) client.say("message", { room: "a", content: 1 });
  await tick(4500);
  tabs[0].wake(null);
  await rest();
  assert.equal(browser.open.length, 1);
  await accept(browser);
  await answerAll(browser.WebSocket.last);
  for (const client of clients) {
    assert.equal(client.connected.at(-1).connectionId, `c${browser.sockets.length}`);
    assert.equal(client.say("message", { room: "a", content: 2 }, "last"), true);
  }
  await rest();
  assert.equal(browser.WebSocket.last.sentOf("message").filter(({ id }) => id === "last").length, 4);
});

test("tabs follow the tab that has the lock, not one that claims to lead", async (t) => {
  const { browser } = createBrowser(t);
  const { clients } = await tabsIn(browser, 2, ["a"]);
  const [{ name }] = browser.channels;
  const stranger = browser.tab();
  new stranger.BroadcastChannel(name).postMessage({ kind: "leader", leader: "x", term: 1e15 });
  await rest();
  await accept(browser);
  const { last } = browser.WebSocket;
  await answerAll(last);
  for (const client of clients) assert.equal(client.say("message", { room: "a" }), true);
  await rest();
  assert.equal(last.sentOf("message").length, 2);
  assert.equal(browser.open.length, 1);
});

test("a leader whose socket ends with 1001 opens the next one, and no tab hears of a close", async (t) => {
  const { browser } = createBrowser(t);
  const { clients, server } = await tabsIn(browser, 3, ["a"]);
  server.frame("news", 1, { room: "a" });
  await rest();
  for (let download = 1; download <= 10; download += 1) {
    browser.WebSocket.last.close(1001);
    clients[1].say("message", { room: "a", content: download }, `m${download}`);
    await rest();
    assert.equal(browser.sockets.length, download + 1);
    assert.equal(lastAsked(browser).resume.split(",")[0], `c${download}`);
    await accept(browser);
    await answerAll(browser.WebSocket.last);
    assert.deepEqual(browser.WebSocket.last.sentOf("message").map(({ id }) => id).at(-1), `m${download}`);
  }
  for (const client of clients) {
    assert.deepEqual([client.closes, client.connected.length], [[], 11]);
  }
});

test("a server that sends 1001 in a loop reaches the tabs, whichever of them leads", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs, clients } = await tabsIn(browser, 3);
  for (let count = 0; count < 11; count += 1) {
    browser.WebSocket.last.close(1001);
    await rest();
    if (count < 10) await accept(browser);
  }
  for (const client of clients) assert.deepEqual(client.closes, [[1001, ""]]);
  assert.equal(browser.sockets.length, 11);
  for (const tab of tabs.slice(1)) {
    const client = tab.join();
    await rest();
    await accept(browser);
    browser.WebSocket.last.close(1001);
    await rest();
    assert.deepEqual(client.closes, [[1001, ""]]);
  }
  assert.equal(browser.sockets.length, 13);
});

test("an attempt that ends after 1001 is made once more before the tabs hear of it", async (t) => {
  const { browser } = createBrowser(t);
  const { clients } = await tabsIn(browser, 2);
  for (const code of [1001, 1006]) {
    browser.WebSocket.last.close(code);
    await rest();
  }
  assert.equal(browser.sockets.length, 3);
  assert.deepEqual(clients.map(({ closes }) => closes), [[], []]);
  browser.WebSocket.last.close(1006);
  await rest();
  for (const client of clients) assert.deepEqual(client.closes, [[1006, ""]]);
});
