/** The frames that tabs get after the shared socket was lost or handed over. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { accept, answerAll, createBrowser, lastAsked, numbers, tabsIn } from "./browser.js";
import { rest } from "./fake_tabs.js";

test("the next leader resumes after the last frame that the tabs got", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs, clients, server } = await tabsIn(browser, 3, ["a"]);
  server.frame("news", 1, { room: "a" });
  server.frame("news", 2, { room: "a" });
  await rest();
  const read = 1 + server.sentOf("subscribe").length;
  assert.equal(server.url, "ws://site.test/");
  tabs[0].kill();
  await rest();
  assert.equal(lastAsked(browser), "?resume=c1");
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

test("a tab that is new or late gets no `resumed`", async (t) => {
  const { browser, tick } = createBrowser(t);
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

test("tabs resume after a lost socket, and do not after a logout", async (t) => {
  const { browser } = createBrowser(t);
  const { tabs: [one, two], clients, server } = await tabsIn(browser, 2, ["a"]);
  const read = server.sentOf("subscribe").length;
  server.close(1006);
  await rest();
  const again = [one.join(), two.join()];
  for (const client of again) client.rooms = ["a"];
  await rest();
  assert.equal(lastAsked(browser), "?resume=c1");
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

/** Tabs of which the first, the leader, hangs, and the second has replaced it. */
async function replaceHung(t, count) {
  const { browser, tick } = createBrowser(t);
  t.mock.method(performance, "now", () => Date.now());
  const { tabs, clients, server } = await tabsIn(browser, count, ["a"]);
  server.frame("news", 1, { room: "a" });
  await rest();
  tabs[0].sleep(null);
  server.frame("news", 2, { room: "a" });
  clients[1].say("message", { room: "a", content: 1 }, "m1");
  await tick(4500);
  const read = server.sentOf("subscribe").length + 1;
  assert.equal(lastAsked(browser), "?resume=c1");
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

test("after a leader wakes from a hang, all tabs can send", async (t) => {
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

test("frames that a leader reads after a hang reach no tab twice", async (t) => {
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
