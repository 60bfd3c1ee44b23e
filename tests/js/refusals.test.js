/** Browsers that refuse a socket, or what tabs need to share one. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { canShare } from "../../pm_realtime/browser/shared.js";
import { fakePage } from "./fake_page.js";
import { fakeWebSocket } from "./fake_socket.js";
import { fakeBrowser, rest } from "./fake_tabs.js";

/** A client whose WebSocket throws after `refuse(true)`, as with a policy of the page. */
function setup(t, options) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  t.mock.method(Math, "random", () => 1);
  const refusal = new DOMException("Refused by the policy of the page.", "SecurityError");
  let refused = false;
  const real = fakeWebSocket();
  class WebSocket {
    constructor(...given) {
      if (refused) throw refusal;
      return new real(...given);
    }
  }
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket, ...options });
  const log = [];
  const closes = [];
  realtime.on(":status", ({ status }) => log.push(status));
  realtime.on(":close", (detail) => closes.push(detail));
  const refuse = (on) => { refused = on; };
  return { WebSocket: real, realtime, log, closes, refusal, refuse, tick: (ms) => t.mock.timers.tick(ms) };
}

function browserOf(t) {
  t.mock.timers.reset();
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  return fakeBrowser();
}

for (const [name, retry] of [
  ["a retry", ({ tick }) => tick(1000)],
  ["a wake-up", ({ events }) => events.online()],
  ["connect() during a wait", ({ realtime }) => realtime.connect()],
]) {
  test(`a refused socket after ${name} stops the client with the error`, async (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime, log, closes, refusal, refuse, tick } = setup(t);
    realtime.connect();
    WebSocket.last.accept();
    WebSocket.last.close();
    const waiting = realtime.sendToRoom("a", 1);
    refuse(true);
    retry({ tick, events, realtime });
    const expected = { code: 1006, name: null, reason: refusal.message, willReconnect: false, error: refusal };
    assert.deepEqual(closes.slice(1), [expected]);
    assert.deepEqual([realtime.status, log.at(-1)], ["stopped", "stopped"]);
    await assert.rejects(waiting, { code: "NOT_CONNECTED" });
    tick(600_000);
    events.online();
    assert.equal(events.listeners, 0);
    refuse(false);
    realtime.connect();
    WebSocket.last.accept();
    assert.equal(realtime.connected, true);
  });
}

test("a refused socket after a rest stops the client", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, closes, refusal, refuse } = setup(t, { maxReconnectAttempts: 0 });
  realtime.connect();
  WebSocket.last.close();
  refuse(true);
  events.online();
  assert.deepEqual([closes.length, closes.at(-1).error], [2, refusal]);
  events.online();
  assert.equal(closes.length, 2);
});

test("a refused socket makes the first connect() throw", async (t) => {
  const { realtime, closes, log, refusal, refuse } = setup(t);
  refuse(true);
  realtime.disconnect();
  assert.throws(realtime.connect, refusal);
  await assert.rejects(realtime.send({ type: "a" }), { code: "NOT_CONNECTED" });
  assert.deepEqual([closes, log, realtime.status], [[], [], "stopped"]);
});

test("a refused socket of a shared client is reported by :close", async (t) => {
  const { realtime, closes, refusal, refuse } = setup(t, { shared: true });
  refuse(true);
  realtime.connect();
  while (realtime.status === "connecting") await rest();
  assert.deepEqual([closes.length, closes[0].error, closes[0].code], [1, refusal, 1006]);
  assert.equal(realtime.status, "stopped");
});

for (const shared of [true, "anna"]) {
  test(`a refused socket of a tab with locks ends the tab, with shared: ${shared}`, async (t) => {
    const browser = browserOf(t);
    const tab = browser.tab();
    const refusal = new SyntaxError("Invalid subprotocols.");
    tab.WebSocket = class {
      constructor() {
        throw refusal;
      }
    };
    const client = tab.join(shared);
    await rest();
    assert.deepEqual(client.closes, [[1006, refusal.message, refusal]]);
    assert.deepEqual([browser.locks.names, browser.locks.waiting, browser.channels.size], [[], 0, 0]);
  });

  test(`a page without locks opens its own socket, with shared: ${shared}`, async (t) => {
    const denied = new DOMException("Access to the Locks API is denied.", "SecurityError");
    for (const request of [() => Promise.reject(denied), () => { throw denied; }]) {
      const browser = browserOf(t);
      const tab = browser.tab();
      tab.navigator.locks = { request };
      const client = tab.join(shared);
      await rest();
      browser.WebSocket.last.accept();
      assert.equal(client.connected.length, 1);
      assert.equal(client.say("ping"), true);
      browser.WebSocket.last.close(1012, "restart");
      assert.deepEqual(client.closes, [[1012, "restart"]]);
      assert.equal(browser.channels.size, 0);
    }
  });

  test(`a tab that closes before its lock is denied opens nothing, with shared: ${shared}`, async (t) => {
    const browser = browserOf(t);
    const tab = browser.tab();
    tab.navigator.locks = { request: () => Promise.reject(new DOMException("", "SecurityError")) };
    tab.join(shared).socket.close();
    await rest();
    assert.equal(browser.sockets.length, 0);
  });

  test(`a page without BroadcastChannel opens its own socket, with shared: ${shared}`, async (t) => {
    const browser = browserOf(t);
    const channels = [undefined, class { constructor() { throw new DOMException("", "SecurityError"); } }];
    for (const [index, BroadcastChannel] of channels.entries()) {
      const tab = browser.tab();
      tab.BroadcastChannel = BroadcastChannel;
      assert.equal(canShare(tab), false);
      const client = tab.join(shared);
      await rest();
      assert.equal(browser.sockets.length, index + 1);
      browser.WebSocket.last.accept();
      assert.equal(client.connected.length, 1);
    }
  });
}

test("other tabs connect if only the leader's page is refused a socket", async (t) => {
  const browser = browserOf(t);
  const [first, second] = [browser.tab(), browser.tab()];
  const refusal = new DOMException("Refused by the policy of the page.", "SecurityError");
  first.WebSocket = class {
    constructor() {
      throw refusal;
    }
  };
  const clients = [first.join(), second.join()];
  await rest();
  assert.deepEqual(clients[0].closes.at(0).slice(2), [refusal]);
  if (clients[1].closes.length > 0) {
    assert.deepEqual(clients[1].closes[0].slice(2), []);
    clients[1] = second.join();
    await rest();
  }
  browser.WebSocket.last.accept();
  await rest();
  assert.equal(clients[1].connected.length, 1);
});
