import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { canShare } from "../../pm_realtime/browser/shared.js";
import { fakeBrowser, rest } from "./fake_tabs.js";

function setup(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const browser = fakeBrowser();
  const tick = async (ms) => {
    for (let past = 0; past < ms; past += 500) {
      t.mock.timers.tick(Math.min(500, ms - past));
      await rest();
    }
  };
  return { browser, tick };
}

/** `count` tabs, each with a client in the given rooms, on one accepted socket. */
async function tabsIn(browser, count, rooms = []) {
  const tabs = Array.from({ length: count }, () => browser.tab());
  const clients = [];
  for (const tab of tabs) {
    const client = tab.join();
    client.rooms = rooms;
    clients.push(client);
    await rest();
    if (browser.sockets.length === 1 && tab === tabs[0]) await accept(browser);
  }
  await answerAll(browser.WebSocket.last);
  return { tabs, clients, server: browser.WebSocket.last };
}

async function accept(browser, payload) {
  browser.WebSocket.last.accept({ connectionId: `c${browser.sockets.length}`, ...payload });
  await rest();
}

/** The server grants every subscribe it has not answered yet. */
async function answerAll(server) {
  server.answered ??= new Set();
  for (const command of server.sentOf("subscribe")) {
    if (server.answered.has(command.id)) continue;
    server.answered.add(command.id);
    server.reply(command, "subscribed", { room: command.payload.room, success: true });
  }
  await rest();
}

const ids = (client, type = "message") => client.of(type).map(({ id }) => id);

test("ten tabs have one socket, each is told of it", async (t) => {
  const { browser } = setup(t);
  const { clients } = await tabsIn(browser, 10);
  assert.equal(browser.sockets.length, 1);
  for (const client of clients) {
    assert.deepEqual(client.connected.map(({ connectionId }) => connectionId), ["c1"]);
  }
});

test("what a room gets reaches the tabs that are in it, what is for the user all", async (t) => {
  const { browser } = setup(t);
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

test("a reply goes to the tab that asked, with its own id", async (t) => {
  const { browser } = setup(t);
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

test("tabs that ask for one room at a time share the server's answer", async (t) => {
  const { browser, tick } = setup(t);
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

test("the room is left with the last tab in it, also one that crashed", async (t) => {
  const { browser } = setup(t);
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

for (const [how, end] of [["crashes", "kill"], ["is closed", "hide"]]) {
  test(`when the owner's tab ${how}, another owns without a wait`, async (t) => {
    const { browser } = setup(t);
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

test("what went to an owner that died goes out by the next, after the rooms and in order", async (t) => {
  const { browser } = setup(t);
  const { tabs, clients: [, two] } = await tabsIn(browser, 2, ["a"]);
  tabs[0].kill();
  two.say("message", { room: "a", content: 1 }, "m1");
  two.say("message", { room: "a", content: 2 }, "m2");
  await rest();
  assert.equal(two.say("message", { room: "a", content: 3 }, "m3"), false, "the client's queue keeps it");
  await accept(browser);
  assert.deepEqual(browser.WebSocket.last.sent.map(({ type, id }) => (type === "message" ? id : type)), [
    "subscribe", "m1", "m2",
  ]);
});

test("what was sent and not answered is sent again, and shown once", async (t) => {
  const { browser } = setup(t);
  const { tabs, clients: [, two, three], server } = await tabsIn(browser, 3, ["a"]);
  const content = { room: "a", content: 1, from: { userId: 7 } };
  two.say("message", { room: "a", content: 1 }, "m1");
  two.say("message", { room: "a", content: 1 }, "m2");
  await rest();
  assert.equal(server.sentOf("message").length, 2);
  server.frame("message", content, { room: "a", id: "m1" });
  await rest();
  tabs[0].kill();
  await rest();
  await accept(browser);
  await answerAll(browser.WebSocket.last);
  const next = browser.WebSocket.last;
  assert.deepEqual(next.sentOf("message").map(({ id }) => id), ["m2"]);
  // The server was late with the first m2: both come by the new socket.
  next.frame("message", content, { room: "a", id: "m2" });
  next.frame("message", content, { room: "a", id: "m2" });
  await rest();
  for (const client of [two, three]) assert.deepEqual(ids(client), ["m1", "m2"]);
});

test("a tab that is slow to follow gets what came on the new socket meanwhile", async (t) => {
  const { browser, tick } = setup(t);
  const { tabs, clients: [, , slow] } = await tabsIn(browser, 3, ["a"]);
  tabs[2].sleep(null);
  tabs[0].kill();
  await rest();
  await accept(browser);
  const server = browser.WebSocket.last;
  await answerAll(server);
  server.frame("message", { room: "a", content: 1 }, { room: "a", id: "m1" });
  server.frame("message", { room: "b", content: 2 }, { room: "b", id: "m2" });
  server.frame("notification", { title: "For all" });
  await tick(1500);
  tabs[2].wake(null);
  await rest();
  server.frame("message", { room: "a", content: 3 }, { room: "a", id: "m3" });
  await rest();
  assert.deepEqual(ids(slow), ["m1", "m3"]);
  assert.equal(slow.of("notification").length, 1);
});

test("a room is a tab's on the new socket from the first frame on, asked for or not yet", async (t) => {
  const { browser } = setup(t);
  const { tabs, clients: [, two, three] } = await tabsIn(browser, 3, ["a"]);
  three.rooms = [];
  tabs[0].kill();
  await rest();
  // In one turn, before any tab can have asked.
  const server = browser.WebSocket.last;
  server.accept();
  server.frame("message", { room: "a", content: 1 }, { room: "a", id: "m1" });
  await rest();
  server.frame("message", { room: "a", content: 2 }, { room: "a", id: "m2" });
  await rest();
  assert.deepEqual([two, three].map((client) => ids(client)), [["m1", "m2"], ["m1"]]);
});

test("the same id again on one socket is no repetition: it may be a site's own", async (t) => {
  const { browser } = setup(t);
  const { clients: [one], server } = await tabsIn(browser, 1, ["a"]);
  for (const content of [1, 2]) server.frame("message", { room: "a", content }, { room: "a", id: "x" });
  await rest();
  assert.deepEqual(ids(one), ["x", "x"]);
});

test("an owner that freezes gives the socket up and takes a place in the row again", async (t) => {
  const { browser } = setup(t);
  const { tabs, clients: [one, two], server } = await tabsIn(browser, 2, ["a"]);
  tabs[0].sleep();
  await rest();
  assert.notEqual(server.closedWith, null);
  await accept(browser);
  await answerAll(browser.WebSocket.last);
  browser.WebSocket.last.frame("notification", { title: "In its sleep" });
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

test("a frozen tab does not become the owner", async (t) => {
  const { browser } = setup(t);
  const { tabs } = await tabsIn(browser, 3);
  tabs[1].sleep();
  tabs[0].kill();
  await rest();
  assert.equal(browser.WebSocket.last.socket.tab, tabs[2]);
});

test("an owner that hangs is deposed, and gives way when it is back", async (t) => {
  const { browser, tick } = setup(t);
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

test("a tab that is seen looks after its owner, a hidden one saves its breath", async (t) => {
  const { browser, tick } = setup(t);
  const { tabs } = await tabsIn(browser, 3);
  tabs[2].document.visibilityState = "hidden";
  browser.said.length = 0;
  await tick(15_000);
  assert.deepEqual(new Set(browser.said.map(({ kind }) => kind)), new Set(["ask", "here"]));
  assert.equal(browser.said.filter(({ kind }) => kind === "ask").length, 3);
  assert.equal(browser.sockets.length, 1);
});

test("tabs hear of a close, and come back on one socket", async (t) => {
  const { browser } = setup(t);
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

test("when the session ends all are told and nobody opens another socket", async (t) => {
  const { browser, tick } = setup(t);
  const { clients, server } = await tabsIn(browser, 10);
  server.close(4501, "logged out");
  await tick(10_000);
  for (const client of clients) assert.deepEqual(client.closes, [[4501, "logged out"]]);
  assert.equal(browser.sockets.length, 1);
  assert.deepEqual(browser.locks.names, []);
  assert.equal(browser.channels.size, 0);
});

test("a tab of another user has a socket of its own", async (t) => {
  const { browser } = setup(t);
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

test("without a key, a tab asks the server who it is, and shares with its own", async (t) => {
  const { browser } = setup(t);
  const [anna, bert, alsoAnna] = [1, 2, 1].map((userId) => {
    const tab = browser.tab();
    const client = tab.join(true);
    return { client, userId };
  });
  // One asks at a time; where tabs share a socket, it only asks, and is no connection that counts.
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

test("without a key, what comes while it asks is not lost", async (t) => {
  const { browser } = setup(t);
  const client = browser.tab().join(true);
  await rest();
  browser.WebSocket.last.accept();
  browser.WebSocket.last.frame("notification", { title: "Early" });
  await rest();
  assert.equal(client.of("notification").length, 1);
});

test("a tab that freezes while it asks lets the others ask", async (t) => {
  const { browser } = setup(t);
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

test("when the next socket is another user's, the tabs of the first are told and left out", async (t) => {
  const { browser } = setup(t);
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

test("a client that leaves the owner's tab open costs the others nothing", async (t) => {
  const { browser } = setup(t);
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

test("while the server is in doubt the tab that woke waits, and what others say is kept", async (t) => {
  const { browser } = setup(t);
  const { clients: [, two, three], server } = await tabsIn(browser, 3);
  two.socket.doubt(true);
  await rest();
  const [ping] = server.sentOf("ping");
  assert.equal(two.say("message", { room: "a", content: 1 }, "m1"), false);
  assert.equal(three.say("message", { room: "a", content: 2 }, "m2"), true);
  await rest();
  assert.equal(server.sentOf("message").length, 0);
  server.reply(ping, "pong");
  await rest();
  assert.deepEqual(server.sentOf("message").map(({ id }) => id), ["m2"]);
  assert.equal(two.ready, 1);
  assert.equal(two.say("message", { room: "a", content: 1 }, "m1"), true);
});

test("where there are no locks, each tab has a socket of its own", async (t) => {
  const { browser } = setup(t);
  const tab = browser.tab();
  delete tab.navigator.locks;
  assert.equal(canShare(tab), false);
  const clients = [tab.join(), tab.join()];
  assert.equal(browser.sockets.length, 2);
  browser.sockets[0].accept();
  assert.deepEqual(clients.map(({ connected }) => connected.length), [1, 0]);
});

test("a thousand tabs that come and go leave nothing behind", async (t) => {
  const { browser } = setup(t);
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

const lastAsked = (browser) => browser.WebSocket.last.url.replace("ws://site.test/", "");

test("the next owner goes on from what the last one passed on", async (t) => {
  const { browser } = setup(t);
  const { tabs, clients, server } = await tabsIn(browser, 3, ["a"]);
  server.frame("news", 1, { room: "a" });
  server.frame("news", 2, { room: "a" });
  await rest();
  const read = 1 + server.sentOf("subscribe").length;
  assert.equal(server.url, "ws://site.test/");
  tabs[0].kill();
  await rest();
  assert.equal(lastAsked(browser), `c1,${read + 1}`);
  await accept(browser, { resumed: "c1" });
  await answerAll(browser.WebSocket.last);
  browser.WebSocket.last.frame("news", 2, { room: "a", resent: read + 1 });
  browser.WebSocket.last.frame("news", 3, { room: "a", resent: read + 2 });
  browser.WebSocket.last.frame("news", 4, { room: "a" });
  await rest();
  for (const client of clients.slice(1)) {
    assert.deepEqual(client.of("news").map(({ payload }) => payload), [1, 2, 3, 4]);
    assert.equal(client.connected.at(-1).resumed, "c1");
  }
});

test("a tab that was not on the last socket, or is late, is not told that nothing is missing", async (t) => {
  const { browser, tick } = setup(t);
  const { tabs: [first, second], clients: [, client] } = await tabsIn(browser, 2);
  second.sleep(null);
  first.kill();
  const fresh = browser.tab().join();
  await rest();
  second.wake(null);
  await rest();
  await accept(browser, { resumed: "c1" });
  assert.equal(client.connected.at(-1).resumed, "c1");
  assert.deepEqual(fresh.connected.map(({ resumed }) => resumed), [undefined]);
  await tick(6000);
  const late = browser.tab().join();
  await rest();
  assert.deepEqual(late.connected.map(({ resumed }) => resumed), [undefined]);
});

test("who hands the socket over closes it so, the last one for good", async (t) => {
  const { browser } = setup(t);
  const { tabs: [first], clients: [, second], server } = await tabsIn(browser, 2);
  first.hide();
  await rest();
  assert.equal(server.closedWith, 4000);
  await accept(browser);
  second.socket.close();
  await rest();
  assert.equal(browser.WebSocket.last.closedWith, 1000);
});

test("tabs whose socket broke go on from there, and from nowhere after a log out", async (t) => {
  const { browser } = setup(t);
  const { tabs: [one, two], clients, server } = await tabsIn(browser, 2, ["a"]);
  const read = server.sentOf("subscribe").length;
  server.close(1006);
  await rest();
  const again = [one.join(), two.join()];
  for (const client of again) client.rooms = ["a"];
  await rest();
  assert.equal(lastAsked(browser), `c1,${read}`);
  await accept(browser, { resumed: "c1" });
  await answerAll(browser.WebSocket.last);
  browser.WebSocket.last.frame("news", 1, { room: "a" });
  await rest();
  for (const client of again) assert.equal(client.of("news").length, 1);
  browser.WebSocket.last.close(4501);
  await rest();
  one.join();
  await rest();
  assert.equal(lastAsked(browser), "");
  assert.equal(clients[0].closes.length, 1);
});

const numbers = (client) => client.of("news").map(({ payload }) => payload);

/** Tabs of which the first, the owner, hangs, and the second owns in its place. */
async function replaceHung(t, count) {
  const { browser, tick } = setup(t);
  t.mock.method(performance, "now", () => Date.now());
  const { tabs, clients, server } = await tabsIn(browser, count, ["a"]);
  server.frame("news", 1, { room: "a" });
  await rest();
  tabs[0].sleep(null);
  server.frame("news", 2, { room: "a" });
  clients[1].say("message", { room: "a", content: 1 }, "m1");
  await tick(4500);
  const read = server.sentOf("subscribe").length + 1;
  assert.equal(lastAsked(browser), `c1,${read}`);
  await accept(browser, { resumed: "c1" });
  const next = browser.WebSocket.last;
  await answerAll(next);
  next.frame("news", 2, { room: "a", resent: read + 1 });
  next.frame("news", 3, { room: "a" });
  await rest();
  const wake = async () => {
    tabs[0].wake(null);
    await rest();
    await answerAll(next);
  };
  return { browser, tick, tabs, clients, server, next, wake };
}

test("an owner that wakes from a hang mutes nobody", async (t) => {
  const { browser, clients, server, next, wake } = await replaceHung(t, 2);
  await wake();
  for (const [index, client] of clients.entries()) {
    assert.equal(client.say("message", { room: "a", content: 2 }, `after-${index}`), true);
  }
  await rest();
  const sent = next.sentOf("message").map(({ id }) => id);
  assert.deepEqual(sent, ["m1", "after-0", "after-1"]);
  assert.deepEqual(server.sentOf("message"), []);
  assert.equal(browser.open.length, 1);
});

test("what an owner's socket brings when it wakes from a hang comes to no tab twice", async (t) => {
  const { clients, server, next, wake } = await replaceHung(t, 3);
  server.close(4001, "resumed elsewhere");
  await wake();
  next.frame("news", 4, { room: "a" });
  await rest();
  for (const client of clients) {
    assert.deepEqual(numbers(client), [1, 2, 3, 4]);
    assert.deepEqual(client.closes, []);
    assert.deepEqual(client.connected.map(({ connectionId }) => connectionId), ["c1", "c2"]);
    assert.equal(client.connected[1].resumed, "c1");
  }
});

test("an owner that stood still and was not replaced goes on", async (t) => {
  const { browser, tick } = setup(t);
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

test("a tab that was to own while it hung does not speak as the owner later", async (t) => {
  const { browser, tick } = setup(t);
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
  assert.deepEqual(browser.said.filter(({ kind }) => kind === "owner"), []);
  assert.equal(three.say("message", { room: "a", content: 1 }, "m2"), true);
});

test("of tabs that take a hung owner's place at once, one has it", async (t) => {
  const { browser, tick } = setup(t);
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

test("who holds the lock is followed, whatever another says", async (t) => {
  const { browser } = setup(t);
  const { clients } = await tabsIn(browser, 2, ["a"]);
  const [{ name }] = browser.channels;
  const stranger = browser.tab();
  new stranger.BroadcastChannel(name).postMessage({ kind: "owner", owner: "x", term: 1e15 });
  await rest();
  await accept(browser, { resumed: "c1" });
  const { last } = browser.WebSocket;
  await answerAll(last);
  for (const client of clients) assert.equal(client.say("message", { room: "a" }), true);
  await rest();
  assert.equal(last.sentOf("message").length, 2);
  assert.equal(browser.open.length, 1);
});

/** Clients of the page that this is, which is one of the fake tabs. */
async function clientsIn(t, { navigator, BroadcastChannel, WebSocket }, count) {
  for (const [name, value] of Object.entries({ navigator, BroadcastChannel })) {
    const real = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    t.after(() => {
      delete globalThis[name];
      if (real) Object.defineProperty(globalThis, name, real);
    });
  }
  const options = { url: "ws://site.test/", shared: "anna", WebSocket };
  const clients = Array.from({ length: count }, () => createRealtime(options));
  for (const client of clients) client.connect();
  await rest();
  return clients;
}

test("a tab that waits for its next attempt joins as soon as another has the socket", async (t) => {
  const { browser, tick } = setup(t);
  const other = browser.tab();
  other.join("anna", "ws://site.test/?resume=");
  await rest();
  await accept(browser);
  const [realtime, stopped] = await clientsIn(t, browser.tab(), 2);
  assert.deepEqual([realtime.connected, stopped.connected], [true, true]);
  browser.WebSocket.last.close(1012);
  await rest();
  assert.equal(realtime.status, "waiting");
  stopped.disconnect();
  other.join("anna", "ws://site.test/?resume=");
  await rest();
  assert.equal(realtime.status, "waiting");
  await accept(browser, { resumed: "c1" });
  assert.deepEqual([realtime.status, stopped.status], ["connected", "stopped"]);
  assert.equal(realtime.connectionId, "c2");
  await tick(3000);
  assert.equal(browser.sockets.length, 2);
  realtime.disconnect();
  await rest();
  assert.equal(browser.channels.size, 1);
});
