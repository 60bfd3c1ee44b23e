/** Rooms whose repeated `subscribe` fails while the connection stays. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { TEMPORARY_ERRORS } from "../../pm_realtime/browser/constants.js";
import { RETRY_SPREAD_MS } from "../../pm_realtime/browser/core/backoff.js";
import { fakeWebSocket, settled } from "./fake_socket.js";

const PERMANENT_ERRORS = ["FORBIDDEN", "AUTH_REQUIRED", "INVALID_ROOM", "ROOM_LIMIT"];
const REPLY_TIMEOUT_MS = 15_000;

/** The handles of the timers that are running. */
function trackTimers(t) {
  const running = new Set();
  const { setTimeout, clearTimeout } = globalThis;
  globalThis.setTimeout = (run, delay) => {
    const handle = setTimeout(() => {
      running.delete(handle);
      run();
    }, delay);
    running.add(handle);
    return handle;
  };
  globalThis.clearTimeout = (handle) => {
    running.delete(handle);
    clearTimeout(handle);
  };
  t.after(() => Object.assign(globalThis, { setTimeout, clearTimeout }));
  return running;
}

/** A connected client without heartbeat. Its random waits are `random` times their bound. */
function setup(t, random = 1) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => random);
  const timers = trackTimers(t);
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket });
  const errors = [];
  realtime.on("error", ({ payload }) => errors.push(payload.code));
  const tick = (ms) => t.mock.timers.tick(ms);

  function accept() {
    WebSocket.last.accept({ heartbeatInterval: 0 });
  }

  function reconnect() {
    WebSocket.last.close();
    tick(1000);
    accept();
  }

  /** The server answers the last `subscribe`. */
  async function grant() {
    const command = WebSocket.last.sentOf("subscribe").at(-1);
    WebSocket.last.reply(command, "subscribed", { ...command.payload, success: true });
    await settled();
  }

  async function refuse(code, rest) {
    WebSocket.last.refuse(WebSocket.last.sentOf("subscribe").at(-1), code, rest);
    await settled();
  }

  realtime.connect();
  accept();
  const asked = () => WebSocket.last.sentOf("subscribe").length;
  return { WebSocket, realtime, errors, timers, tick, accept, reconnect, grant, refuse, asked };
}

/** The same after room "a" was joined, and a new connection asked for it again. */
async function rejoining(t, random) {
  const parts = setup(t, random);
  parts.realtime.subscribe("a");
  await parts.grant();
  parts.reconnect();
  // Until the connection counts as stable, and has no timer of its own.
  parts.tick(5000);
  assert.equal(parts.asked(), 1);
  return parts;
}

for (const code of [...TEMPORARY_ERRORS, ...PERMANENT_ERRORS]) {
  test(`a first subscribe() that is refused with ${code} rejects and forgets the room`, async (t) => {
    const { realtime, refuse, tick, asked } = setup(t);
    const joined = realtime.subscribe("a");
    await refuse(code, { retryAfter: 100 });
    await assert.rejects(joined, { code });
    assert.deepEqual(realtime.rooms, []);
    tick(60_000);
    assert.equal(asked(), 1);
  });
}

for (const code of TEMPORARY_ERRORS) {
  test(`a joined room is retried after ${code}`, async (t) => {
    const { realtime, errors, timers, refuse, grant, tick, asked } = await rejoining(t);
    await refuse(code);
    assert.deepEqual([realtime.rooms, errors], [["a"], [code]]);
    tick(999);
    assert.equal(asked(), 1);
    tick(1);
    assert.equal(asked(), 2);
    await grant();
    assert.deepEqual(realtime.rooms, ["a"]);
    assert.equal(timers.size, 0);
  });
}

for (const code of PERMANENT_ERRORS) {
  test(`a joined room is forgotten after ${code}`, async (t) => {
    const { realtime, errors, timers, refuse } = await rejoining(t);
    await refuse(code, { retryAfter: 100 });
    assert.deepEqual([realtime.rooms, errors], [[], [code]]);
    assert.equal(timers.size, 0);
  });
}

test("a permanent refusal ends the retries", async (t) => {
  const { realtime, errors, timers, refuse, tick, asked } = await rejoining(t);
  await refuse("INTERNAL_ERROR");
  tick(1000);
  assert.equal(asked(), 2);
  await refuse("FORBIDDEN");
  assert.deepEqual([realtime.rooms, errors], [[], ["INTERNAL_ERROR", "FORBIDDEN"]]);
  assert.equal(timers.size, 0);
});

test("a joined room is retried after a timeout", async (t) => {
  const { realtime, tick, asked } = await rejoining(t);
  tick(REPLY_TIMEOUT_MS - 5000);
  await settled();
  assert.deepEqual([realtime.rooms, asked()], [["a"], 1]);
  tick(1000);
  assert.equal(asked(), 2);
});

test("a second subscribe() to a joined room is retried and resolves", async (t) => {
  const { realtime, refuse, grant, tick, asked } = setup(t);
  realtime.subscribe("a");
  await grant();
  const again = realtime.subscribe("a");
  await refuse("RATE_LIMITED", { retryAfter: 2000 });
  const waiting = realtime.subscribe("a");
  assert.equal(asked(), 2);
  tick(2000 + RETRY_SPREAD_MS);
  assert.equal(asked(), 3);
  await grant();
  assert.equal((await again).type, "subscribed");
  assert.equal((await waiting).type, "subscribed");
});

for (const [random, delay] of [[0, 4000], [1, 4000 + RETRY_SPREAD_MS]]) {
  test(`a retry comes after retryAfter plus ${random} times the spread`, async (t) => {
    const { refuse, tick, asked } = await rejoining(t, random);
    await refuse("RATE_LIMITED", { retryAfter: 4000 });
    tick(delay - 1);
    assert.equal(asked(), 1);
    tick(1);
    assert.equal(asked(), 2);
  });
}

test("a retryAfter beyond the longest timer is shortened to it", async (t) => {
  const delays = [];
  const { refuse } = await rejoining(t);
  t.mock.method(globalThis, "setTimeout", (_, delay) => delays.push(delay));
  await refuse("RATE_LIMITED", { retryAfter: 1e12 });
  assert.deepEqual(delays, [2 ** 31 - 1]);
});

test("the wait grows from 1 s to 30 s, and starts over after an answer", async (t) => {
  const { realtime, refuse, grant, tick, asked } = await rejoining(t);
  for (const delay of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
    const before = asked();
    await refuse("ROOM_FULL");
    tick(delay - 1);
    assert.equal(asked(), before, `too early for ${delay}`);
    tick(1);
    assert.equal(asked(), before + 1, `too late for ${delay}`);
  }
  await grant();
  realtime.subscribe("a");
  const before = asked();
  await refuse("ROOM_FULL");
  tick(1000);
  assert.equal(asked(), before + 1);
});

test("the wait is random up to its bound", async (t) => {
  const { refuse, tick, asked } = await rejoining(t, 0.5);
  await refuse("INTERNAL_ERROR");
  tick(499);
  assert.equal(asked(), 1);
  tick(1);
  assert.equal(asked(), 2);
});

test("a new connection asks once, and its waits start over", async (t) => {
  const { WebSocket, refuse, accept, tick, asked } = await rejoining(t);
  for (const delay of [1000, 2000, 4000]) {
    await refuse("INTERNAL_ERROR");
    tick(delay);
  }
  await refuse("INTERNAL_ERROR");
  WebSocket.last.close();
  tick(30_000);
  accept();
  assert.equal(asked(), 1);
  tick(10_000);
  assert.equal(asked(), 1);
  await refuse("INTERNAL_ERROR");
  tick(1000);
  assert.equal(asked(), 2);
});

test("no room is asked for between two connections", async (t) => {
  const { WebSocket, realtime, refuse, accept, tick, asked } = await rejoining(t);
  await refuse("RATE_LIMITED", { retryAfter: 500 });
  WebSocket.last.close();
  tick(1000);
  assert.equal(realtime.status, "connecting");
  assert.equal(asked(), 0);
  accept();
  assert.equal(asked(), 1);
});

test("a refusal that comes after the loss of the connection starts no timer", async (t) => {
  const { WebSocket, realtime, timers, refuse } = await rejoining(t);
  const refused = refuse("INTERNAL_ERROR");
  WebSocket.last.close();
  await refused;
  assert.equal(timers.size, 1, "only the timer of the next attempt to connect");
  assert.deepEqual(realtime.rooms, ["a"]);
});

for (const [name, end] of [
  ["disconnect", ({ realtime }) => realtime.disconnect()],
  ["a final close", ({ WebSocket }) => WebSocket.last.close(4502)],
]) {
  test(`${name} stops the retries, and connect() asks for the room again`, async (t) => {
    const parts = await rejoining(t);
    const { realtime, timers, refuse, accept, tick, asked } = parts;
    await refuse("RATE_LIMITED", { retryAfter: 2000 });
    const waiting = realtime.subscribe("a");
    assert.equal(timers.size, 1);
    end(parts);
    assert.equal(timers.size, 0);
    await assert.rejects(waiting, { code: "NOT_CONNECTED" });
    tick(60_000);
    assert.equal(asked(), 1);
    realtime.connect();
    accept();
    assert.equal(asked(), 1);
    await refuse("INTERNAL_ERROR");
    tick(1000);
    assert.equal(asked(), 2);
  });
}

for (const [name, leave, timersLeft] of [
  // One timer, for its own reply.
  ["unsubscribe()", ({ realtime }) => realtime.unsubscribe("a"), 1],
  ["removal by the server", ({ WebSocket }) => WebSocket.last.frame("unsubscribed", { room: "a" }), 0],
]) {
  test(`${name} ends the retries of a room`, async (t) => {
    const parts = await rejoining(t);
    const { realtime, timers, refuse, tick, asked } = parts;
    await refuse("INTERNAL_ERROR");
    const waiting = realtime.subscribe("a");
    leave(parts);
    assert.equal(timers.size, timersLeft);
    await assert.rejects(waiting, { code: "CANCELLED" });
    tick(60_000);
    assert.equal(asked(), 1);
    assert.deepEqual(realtime.rooms, []);
  });
}

test("a room that is left and wanted again counts as never joined", async (t) => {
  const { realtime, refuse } = await rejoining(t);
  await refuse("INTERNAL_ERROR");
  realtime.unsubscribe("a");
  const joined = realtime.subscribe("a");
  await refuse("INTERNAL_ERROR");
  await assert.rejects(joined, { code: "INTERNAL_ERROR" });
  assert.deepEqual(realtime.rooms, []);
});
