import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { fakeWebSocket } from "./fake_socket.js";

function setup(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const WebSocket = fakeWebSocket();
  return { WebSocket, realtime: createRealtime({ url: "ws://site.test/", WebSocket }) };
}

test("a snapshot stays the same object until the state changes", (t) => {
  const { WebSocket, realtime } = setup(t);
  const { store } = realtime;
  const seen = [];
  const off = store.subscribe(() => seen.push(store.getSnapshot()));
  const first = store.getSnapshot();
  assert.equal(store.getSnapshot(), first);
  assert.ok(Object.isFrozen(first));
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.frame("news", 1);
  const connected = store.getSnapshot();
  assert.deepEqual(connected, {
    status: "connected",
    connected: true,
    connectionId: "fake-1",
    userId: 7,
    role: "editor",
    closeCode: null,
  });
  assert.deepEqual(seen.map(({ status }) => status), ["connecting", "connected"]);
  WebSocket.last.close(4501);
  assert.deepEqual(store.getSnapshot(), {
    ...first,
    closeCode: 4501,
  });
  assert.equal(seen.at(-1), store.getSnapshot());
  assert.equal(connected.connected, true, "a snapshot does not change");
  off();
  realtime.connect();
  assert.equal(seen.at(-1).status, "stopped");
});

test("handlers of events see the new state", (t) => {
  const { WebSocket, realtime } = setup(t);
  const seen = [];
  for (const name of [":status", ":open", ":close"]) {
    realtime.on(name, () => seen.push([name, realtime.status, realtime.store.getSnapshot().status]));
  }
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.close(4503);
  assert.deepEqual(seen, [
    [":status", "connecting", "connecting"],
    [":open", "connected", "connected"],
    [":status", "connected", "connected"],
    [":close", "stopped", "stopped"],
    [":status", "stopped", "stopped"],
  ]);
});

test("a listener that throws does not keep the others from running", (t) => {
  t.mock.method(console, "error", () => {});
  const { realtime } = setup(t);
  let calls = 0;
  realtime.store.subscribe(() => {
    throw new Error("mine");
  });
  realtime.store.subscribe(() => {
    calls += 1;
  });
  realtime.connect();
  assert.equal(calls, 1);
});

test("the state is read-only", (t) => {
  const { realtime } = setup(t);
  assert.throws(() => {
    realtime.connected = true;
  }, TypeError);
});
