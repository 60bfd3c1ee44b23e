/** What tabs that share a socket get after it was lost or handed over: each its own, each once. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { accept, answerAll, clientsIn, createBrowser, lastAsked, numbers, openTabs, tabsIn } from "./browser.js";
import { rest } from "./fake_tabs.js";

/** A browser with an automatic server, `count` tabs in the rooms, and `news(n, target)`. */
async function setup(t, count, rooms = [], options = {}) {
  const { browser, tick } = createBrowser(t, { automatic: true, ...options });
  const { server } = browser;
  const news = async (n, target) => {
    server.push("news", n, target);
    await rest();
  };
  return { browser, server, tick, news, ...(await openTabs(browser, count, rooms)) };
}

const gaps = (client) => client.of("gap").map(({ room, to }) => room ?? to);
const recovered = (client) => client.connected.map((payload) => payload.recovered);
const IN_A = { room: "a" };

for (const target of [IN_A, { to: "user" }]) {
  const [[name, value]] = Object.entries(target);

  test(`messages of ${name} ${value} arrive once and in order, whichever tab leads`, async (t) => {
    const { tabs, clients, news } = await setup(t, 4, ["a"]);
    await news(1, target);
    for (const leader of [0, 1, 2]) {
      tabs[leader].kill();
      await news(leader + 2, target);
    }
    await news(5, target);
    assert.deepEqual(numbers(clients[3]), [1, 2, 3, 4, 5]);
    assert.deepEqual(recovered(clients[3]), [undefined, true, true, true]);
    assert.deepEqual(clients[3].closes, []);
  });

  test(`a tab that slept gets the messages of ${name} ${value} that it missed`, async (t) => {
    const { browser, tabs, clients: [, two, slow], news } = await setup(t, 3, ["a"]);
    await news(1, target);
    tabs[2].sleep(null);
    await news(2, target);
    tabs[0].kill();
    await rest();
    await news(3, target);
    tabs[2].wake(null);
    await rest();
    await news(4, target);
    for (const client of [two, slow]) assert.deepEqual(numbers(client), [1, 2, 3, 4]);
    assert.equal(recovered(slow).at(-1), true);
    assert.equal(browser.open.length, 1);
  });
}

test("a page that goes on where the last one of its tab stopped is served by the leader", async (t) => {
  const { browser, tabs, clients: [one], news } = await setup(t, 2);
  await news(1);
  tabs[1].hide();
  for (const n of [2, 3]) await news(n);
  const page = browser.tab();
  page.position = tabs[1].position;
  const client = page.join();
  await rest();
  await news(4);
  assert.deepEqual(numbers(client), [2, 3, 4]);
  assert.deepEqual(recovered(client), [true]);
  assert.deepEqual(numbers(one), [1, 2, 3, 4]);
  assert.equal(browser.sockets.length, 1);
});

test("what only the server has is asked for with a new connection, and the others get it once", async (t) => {
  const { browser, tabs, clients: [one], news } = await setup(t, 1);
  await news(1);
  const old = browser.tab();
  old.position.cursors.startOwn({ cursors: one.connected[0].cursors });
  old.position.ids = ["former"];
  await news(2);
  tabs[0].hide();
  const leader = browser.tab();
  leader.position = tabs[0].position;
  const first = leader.join();
  await rest();
  await news(3);
  assert.equal(browser.sockets.length, 2);
  const client = old.join();
  await rest();
  await news(4);
  assert.deepEqual(numbers(client), [1, 2, 3, 4]);
  assert.deepEqual(numbers(first), [3, 4]);
  assert.deepEqual(recovered(first), [true, true]);
  assert.equal(browser.sockets.length, 3);
  assert.equal(browser.open.length, 1);
  assert.match(lastAsked(browser).resume, /^fake-2,/);
});

test("the leader keeps some hundred messages, and asks the server for older ones", async (t) => {
  const { browser, tabs, clients: [one], news, server } = await setup(t, 2, [], { history: 2000 });
  tabs[1].hide();
  for (let n = 1; n <= 700; n += 1) server.push("news", n);
  await news(701);
  const page = browser.tab();
  page.position = tabs[1].position;
  const client = page.join();
  await rest();
  const all = Array.from({ length: 701 }, (_, index) => index + 1);
  for (const each of [one, client]) assert.deepEqual(numbers(each), all);
  assert.equal(browser.sockets.length, 2);
});

test("a gap is told to the tabs that it concerns, once each", async (t) => {
  const { browser, tabs, clients: [one], news, server } = await setup(t, 2, ["a"], { history: 2 });
  tabs[1].hide();
  for (const n of [1, 2, 3]) for (const target of [IN_A, { to: "user" }]) await news(n, target);
  const page = browser.tab();
  page.position = tabs[1].position;
  const client = page.join();
  client.rooms = ["a"];
  await rest();
  // The leader has all of the user's messages, and the server has lost one of the room's.
  assert.deepEqual([gaps(one), gaps(client)], [[], ["a"]]);
  assert.deepEqual(numbers(client), [1, 2, 3, 2, 3]);
  assert.deepEqual(recovered(client), [true]);
  server.goDown();
  server.forgetHistory();
  server.comeBack();
  await rest();
  const again = [tabs[0], page].map((tab) => tab.join());
  for (const each of again) each.rooms = ["a"];
  await rest();
  await news(4, IN_A);
  for (const each of again) {
    assert.deepEqual([gaps(each), recovered(each)], [["user", "all", "role:editor", "a"], [false]]);
    assert.deepEqual(numbers(each), [4]);
  }
});

test("a tab whose user got a role while it was away is told of a gap in the stream of the role", async (t) => {
  const { browser, clients: [one], news } = await setup(t, 1);
  const { "role:editor": role, ...others } = one.connected[0].cursors;
  const old = browser.tab();
  old.position.cursors.startOwn({ cursors: { ...others, "role:user": role } });
  old.position.ids = ["former"];
  const client = old.join();
  await rest();
  await news(1, { to: "role:editor" });
  assert.deepEqual([gaps(client), recovered(client), numbers(client)], [["role:editor"], [false], [1]]);
  assert.deepEqual([gaps(one), numbers(one)], [[], [1]]);
});

test("a tab that the server cannot serve any more is told so, and the others are not", async (t) => {
  const { browser, tabs, clients: [one], news, server } = await setup(t, 2);
  await news(1);
  const old = browser.tab();
  old.position.cursors.startOwn({ cursors: { user: "0000000000001-000000" } });
  old.position.ids = ["former"];
  const client = old.join();
  await rest();
  await news(2);
  assert.deepEqual([gaps(client), recovered(client)], [["user"], [false]]);
  assert.equal(numbers(client).at(-1), 2);
  assert.deepEqual([gaps(one), recovered(one), numbers(one)], [[], [undefined, true], [1, 2]]);
  tabs[0].kill();
  await rest();
  assert.deepEqual([gaps(client), recovered(client)], [["user"], [false, true]]);
  assert.equal(server.last, server.connections[2]);
});

test("tabs at different places of a room each get what they miss, once and in order", async (t) => {
  const { clients: [one, two, three], news } = await setup(t, 3);
  one.subscribe("a");
  await rest();
  const begin = one.cursors.room("a");
  for (const n of [1, 2, 3]) await news(n, IN_A);
  two.cursors.startRoom("a", { cursor: begin });
  two.subscribe("a");
  three.cursors.startRoom("a", { cursor: one.of("news")[1].cursor });
  three.subscribe("a");
  await news(4, IN_A);
  assert.deepEqual([one, two, three].map(numbers), [[1, 2, 3, 4], [1, 2, 3, 4], [3, 4]]);
  for (const client of [two, three]) assert.equal(client.of("subscribed")[0].payload.recovered, true);
});

test("ten tabs that come back to a room are few requests", async (t) => {
  const { browser, tabs, clients, news } = await setup(t, 10, ["a"]);
  await news(1, IN_A);
  tabs[0].kill();
  await news(2, IN_A);
  for (const client of clients.slice(1)) assert.deepEqual(numbers(client), [1, 2]);
  assert.ok(browser.server.last.sentOf("subscribe").length <= 3);
});

test("the last messages of a room go to the tab that asks for them", async (t) => {
  const { clients: [one, two], news } = await setup(t, 2);
  one.subscribe("a");
  await rest();
  for (const n of [1, 2, 3]) await news(n, IN_A);
  two.say("subscribe", { room: "a", last: 2 }, "s");
  await rest();
  await news(4, IN_A);
  assert.deepEqual([one, two].map(numbers), [[1, 2, 3, 4], [2, 3, 4]]);
  assert.equal("recovered" in two.of("subscribed")[0].payload, false);
});

/** Two tabs in a room: for the second, the connection has left behind the first, which is at 11. */
async function leaveBehind(t) {
  const { browser } = createBrowser(t);
  const { clients, server } = await tabsIn(browser, 2);
  const [one, two] = clients;
  const grant = async (position) => {
    server.reply(server.lastSent, "subscribed", { room: "a", success: true, ...position });
    await rest();
  };
  const news = async (n) => {
    server.frame("news", n, { room: "a", cursor: String(n) });
    await rest();
  };
  one.cursors.startRoom("a", { cursor: "10" });
  one.subscribe("a");
  await rest();
  await grant({ cursor: "10", recovered: true });
  await news(11);
  // The connection is still catching up.
  two.say("subscribe", { room: "a", last: 2 });
  await rest();
  await grant({ cursor: "48" });
  assert.deepEqual(server.lastSent.payload, { room: "a", since: "11" });
  await news(49);
  return { clients, server, grant, news };
}

test("tabs that the connection has left behind get nothing before it has gone back", async (t) => {
  const { clients, grant, news } = await leaveBehind(t);
  await grant({ cursor: "11", recovered: true });
  for (const n of [12, 48, 49, 50, 51]) await news(n);
  assert.deepEqual(clients.map(numbers), [[11, 12, 48, 49, 50, 51], [49, 50, 51]]);
  assert.deepEqual(clients.map((client) => client.of("subscribed").length), [1, 1]);
});

test("tabs that the connection cannot go back for are told of a gap", async (t) => {
  const { clients, server, news } = await leaveBehind(t);
  server.refuse(server.lastSent, "RATE_LIMITED", { retryAfter: 1000 });
  await news(50);
  assert.deepEqual(clients.map(gaps), [["a"], []]);
  assert.deepEqual(clients.map(numbers), [[11, 50], [49, 50]]);
});

test("tabs that wait until the connection goes back are told if it leaves the room", async (t) => {
  const { clients, server, news } = await leaveBehind(t);
  const asked = server.lastSent;
  server.frame("unsubscribed", { room: "a", success: true, reason: "forbidden" });
  server.refuse(asked, "FORBIDDEN", { room: "a" });
  await news(50);
  const reasons = (client) => client.of("unsubscribed").map(({ payload }) => payload.reason);
  assert.deepEqual(clients.map(reasons), [["forbidden"], ["forbidden"]]);
  assert.deepEqual(clients.map(numbers), [[11], [49]]);
});

test("an answer of the leader says where the tab begins", async (t) => {
  const { browser, clients: [one, two], news } = await setup(t, 2);
  one.subscribe("a");
  await rest();
  await news(1, IN_A);
  two.subscribe("a");
  await rest();
  await news(2, IN_A);
  assert.equal(browser.server.sentOf("subscribe").length, 1);
  assert.equal(two.of("subscribed")[0].payload.cursor, one.of("news")[0].cursor);
  assert.deepEqual(numbers(two), [2]);
});

test("a room is refused to all tabs that ask for it at once, and a wrong position to one", async (t) => {
  const { server, clients: [one, two, three] } = await setup(t, 3);
  server.refuse("subscribe", "FORBIDDEN", { room: "a" });
  for (const client of [one, two]) client.subscribe("a");
  three.say("subscribe", { room: "b", last: -1 });
  two.subscribe("b");
  await rest();
  const codes = (client) => client.of("error").map(({ payload }) => payload.code);
  assert.deepEqual([one, two, three].map(codes), [["FORBIDDEN"], ["FORBIDDEN"], ["INVALID_PAYLOAD"]]);
  assert.equal(two.of("subscribed").length, 1);
});

test("the messages of rooms and users that keep nothing reach each tab once", async (t) => {
  const { tabs, clients, news } = await setup(t, 3, ["a"], { history: 0 });
  for (const n of [1, 2]) await news(n, IN_A);
  tabs[0].kill();
  await rest();
  await news(3, IN_A);
  await news(4);
  for (const client of clients.slice(1)) assert.deepEqual(numbers(client), [1, 2, 3, 4]);
});

test("a leader closes the socket with 4000 for the next one, and with 1000 if it is the last", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs: [first], clients: [, second], server } = await tabsIn(browser, 2);
  first.hide();
  await rest();
  assert.equal(server.closedWith, 4000);
  await accept(browser);
  second.socket.close();
  await rest();
  assert.equal(browser.WebSocket.last.closedWith, 1000);
});

test("tabs go on after a lost socket, and what waits does not reach another user", async (t) => {
  const { browser, server, tabs: [one, two], news } = await setup(t, 2, ["a"]);
  server.close(1006);
  server.push("news", 1, IN_A);
  await rest();
  const again = [one.join(), two.join()];
  for (const client of again) client.rooms = ["a"];
  await rest();
  assert.equal(lastAsked(browser).resume, "fake-1");
  for (const client of again) assert.deepEqual(numbers(client), [1]);
  server.logIn({ userId: 8 });
  one.kill();
  await news(2);
  assert.deepEqual(again[1].closes, [[4501, "Another user has signed in."]]);
  assert.deepEqual(numbers(again[1]), [1]);
  assert.equal(browser.open.length, 0);
});

/** Tabs of which the first, the leader, hangs, and the second has replaced it. */
async function replaceHung(t, count) {
  t.mock.method(performance, "now", () => Date.now());
  const { browser, tabs, clients, server, tick, news } = await setup(t, count, ["a"]);
  await news(1, IN_A);
  tabs[0].sleep(null);
  await news(2, IN_A);
  clients[1].say("message", { room: "a", content: 1 }, "m1");
  await tick(4500);
  await news(3, IN_A);
  assert.equal(browser.sockets.length, 2);
  const wake = async () => {
    tabs[0].wake(null);
    await rest();
  };
  return { browser, clients, server, news, wake };
}

test("after a leader wakes from a hang, all tabs can send", async (t) => {
  const { browser, clients, server, wake } = await replaceHung(t, 2);
  await wake();
  for (const [index, client] of clients.entries()) {
    assert.equal(client.say("message", { room: "a", content: 2 }, `after-${index}`), true);
  }
  await rest();
  const sentOn = ({ sent }) => sent.filter(({ type }) => type === "message").map(({ id }) => id);
  assert.deepEqual(server.connections.map(sentOn), [[], ["m1", "after-0", "after-1"]]);
  assert.equal(browser.open.length, 1);
});

test("frames that a leader reads after a hang reach no tab twice", async (t) => {
  const { clients, server, wake, news } = await replaceHung(t, 3);
  server.connections[0].close(4001, "taken over");
  await wake();
  await news(4, IN_A);
  for (const client of clients) {
    assert.deepEqual(numbers(client), [1, 2, 3, 4]);
    assert.deepEqual(client.closes, []);
    assert.deepEqual(client.connected.map(({ connectionId }) => connectionId), ["fake-1", "fake-2"]);
    assert.equal(client.connected[1].recovered, true);
  }
});

test("a message that the last leader sent and nobody answered is sent again, and resolves", async (t) => {
  const { browser } = createBrowser(t, { idempotencyPeriod: 300_000 });
  const { tabs: [leader], server } = await tabsIn(browser, 1, ["a"]);
  const [realtime] = await clientsIn(t, browser.tab(), 1);
  realtime.subscribe("a");
  await rest();
  const answer = realtime.sendToRoom("a", "hi");
  await rest();
  const [first] = server.sentOf("message");
  leader.kill();
  await rest();
  await accept(browser);
  await answerAll(browser.WebSocket.last);
  const types = browser.WebSocket.last.sent.map(({ type }) => type);
  assert.deepEqual(types, ["subscribe", "message"]);
  const again = browser.WebSocket.last.lastSent;
  assert.deepEqual([again.id, again.payload], [first.id, first.payload]);
  browser.WebSocket.last.reply(again, "ack", { duplicate: true });
  await rest();
  assert.equal((await answer).payload.content, "hi");
  realtime.disconnect();
});

test("the whole client in a tab gets each message once over leaders, and its own one too", async (t) => {
  const { browser, tabs, news } = await setup(t, 3, ["a"]);
  const [realtime] = await clientsIn(t, browser.tab(), 1);
  const heard = [];
  for (const type of ["news", "message"]) {
    realtime.on(type, ({ payload }) => heard.push(payload.content ?? payload));
  }
  const opened = [];
  realtime.on(":open", ({ recovered: isWhole }) => opened.push(isWhole));
  const { cursor } = await Promise.all([realtime.subscribe("a"), rest()]).then(([joined]) => joined);
  assert.ok(cursor);
  await news(1, IN_A);
  for (const [index, tab] of tabs.entries()) {
    const sent = realtime.sendToRoom("a", `own ${index}`);
    tab.kill();
    await news(2 + index);
    await sent;
  }
  const texts = heard.filter((each) => typeof each === "string");
  assert.deepEqual(texts, ["own 0", "own 1", "own 2"]);
  assert.deepEqual(heard.filter(Number), [1, 2, 3, 4]);
  assert.deepEqual(opened, [true, true, true]);
  realtime.disconnect();
});

/** A new tab that goes on where another user's page of it stopped, long ago. */
function tabOfOther(browser) {
  const tab = browser.tab();
  const cursors = { user: "1000000000000-000000", all: "1000000000000-000000" };
  tab.position.cursors.startOwn({ cursors });
  Object.assign(tab.position, { user: "9", ids: ["other"] });
  return tab;
}

for (const shared of [true, "anna"]) {
  test(`the first page of another user in a tab is told of no gap, with shared: ${shared}`, async (t) => {
    const { browser, news } = await setup(t, 0);
    const client = tabOfOther(browser).join(shared);
    await rest();
    await news(1);
    assert.deepEqual([numbers(client), gaps(client)], [[1], []]);
    assert.deepEqual(recovered(client), [undefined]);
  });

  test(`a page of another user takes no connection back, with shared: ${shared}`, async (t) => {
    const { browser, server, news } = await setup(t, 0);
    const first = browser.tab().join(shared);
    await rest();
    await news(1);
    const client = tabOfOther(browser).join(shared);
    await rest();
    await news(2);
    assert.equal(server.connections.filter(({ url }) => !url.includes("who=")).length, 1);
    assert.deepEqual([numbers(first), numbers(client), gaps(client)], [[1, 2], [2], []]);
    assert.deepEqual(recovered(client), [undefined]);
  });
}

test("a tab that follows a page of another user gets what it missed", async (t) => {
  const { browser, server, news } = await setup(t, 0);
  const before = browser.tab();
  before.join(true);
  await rest();
  await news(1);
  before.hide();
  await rest();
  await news(2);
  tabOfOther(browser).join(true);
  await rest();
  const page = browser.tab();
  page.position = before.position;
  const client = page.join(true);
  await rest();
  await news(3);
  assert.deepEqual([numbers(client), gaps(client)], [[2, 3], []]);
  assert.ok(server.last.open);
});
