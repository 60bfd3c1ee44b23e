/** Pages whose parts come and go on wires that break, in random orders that a seed repeats. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";
import { seeded, turn, wiredTo } from "./wires.js";

const STEPS = 400;
const SEEDS = 5;
const GAP = "gap";

/** A page; `step()` lets something happen, `finish()` brings all to its end. */
function createWorld(seed, history) {
  const random = seeded(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const server = createFakeServer({ history });
  const { WebSocket, wires } = wiredTo(server, random);
  const options = { reconnectDelay: 0, maxReconnectAttempts: Infinity };
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket, ...options });
  const counts = { user: 0, a: 0, b: 0 };
  const cursors = { a: [], b: [] };
  const parts = [];
  const messages = [];
  const calls = [];
  const carriedOut = { a: [], calls: [] };
  server.handle("count", (number, { room }) => {
    carriedOut[room].push(number);
    return { number };
  });
  const own = { seen: [] };
  realtime.on("own", ({ payload }) => own.seen.push(payload));
  realtime.on(":gap", ({ to }) => to === "user" && own.seen.push(GAP));
  realtime.on("news", ({ room, cursor, payload }) => cursors[room].push([cursor, payload]));
  realtime.connect();
  // The page never leaves this one.
  realtime.subscribe("calls");

  function listen(part) {
    const offs = [
      realtime.on("news", ({ room, payload }) => room === part.room && part.seen.push(payload)),
      realtime.on(":gap", ({ room }) => room === part.room && part.seen.push(GAP)),
    ];
    part.off = () => offs.forEach((off) => off());
  }

  function open() {
    if (parts.filter(({ left }) => !left).length > 3) return;
    const part = { room: pick(["a", "b"]), seen: [], left: false };
    const kind = random();
    const [cursor, number] = pick(cursors[part.room]) ?? [];
    const place = kind < 0.5 ? { last: pick([0, 1, 3, 20]) } : kind < 0.8 ? { since: cursor } : {};
    const listensFirst = random() < 0.7;
    if (listensFirst) listen(part);
    part.subscription = realtime.subscribe(part.room, place);
    if (!listensFirst) listen(part);
    if (place.since && listensFirst) part.after = number;
    parts.push(part);
  }

  function leave() {
    const part = pick(parts.filter(({ left }) => !left));
    if (!part) return;
    part.left = true;
    part.off();
    part.subscription.leave();
  }

  function call(room) {
    const result = realtime.call("count", calls.length, { room });
    calls.push(result.then(({ number }) => ({ room, result: number }), ({ code }) => ({ room, result: code })));
  }

  const push = (room) => server.push("news", counts[room]++, { room });
  const actions = [
    [0.35, () => wires[wires.length - 1].receive()],
    [0.25, () => wires[wires.length - 1].transmit()],
    [0.1, () => push(pick(["a", "b"]))],
    [0.07, () => server.push("own", counts.user++)],
    [0.04, () => wires[wires.length - 1].cut()],
    [0.04, open],
    [0.02, leave],
    [0.04, () => messages.push(realtime.sendToRoom(pick(["a", "b"]), messages.length))],
    [0.08, () => call(pick(["a", "calls"]))],
  ];

  async function step() {
    let left = random();
    actions.find(([chance]) => (left -= chance) < 0)?.[1]();
    await turn();
    if (random() < 0.2) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** All that is under way arrives. */
  async function settle() {
    for (let idle = 0; idle < 300; idle += 1) {
      wires[wires.length - 1].transmit();
      await turn();
      wires[wires.length - 1].receive();
      if (idle % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async function finish() {
    await settle();
    for (const room of ["a", "b"]) push(room);
    server.push("own", counts.user++);
    await settle();
    const outcomes = await Promise.all(
      messages.map((sent) => sent.then(() => "resolved", ({ code }) => code)),
    );
    const results = await Promise.all(calls);
    realtime.disconnect();
    return { counts, parts, own, outcomes, results, carriedOut };
  }

  return { step, finish };
}

/** Each message once and in order, and without a hole unless there was a gap. */
function assertWhole(seen, what) {
  let last = null;
  let isToldOf = false;
  for (const each of seen) {
    if (each === GAP) isToldOf = true;
    else {
      const isNext = last === null || each === last + 1 || (isToldOf && each > last);
      assert.ok(isNext, `${what}: ${seen}`);
      last = each;
      isToldOf = false;
    }
  }
}

for (const history of [1000, 6]) {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    test(`nothing is lost, doubled or out of order with seed ${seed}, history ${history}`, async () => {
      const world = createWorld(seed, history);
      for (let count = 0; count < STEPS; count += 1) await world.step();
      const { counts, parts, own, outcomes, results, carriedOut } = await world.finish();
      assertWhole(own.seen, "own");
      assert.equal(own.seen[own.seen.length - 1], counts.user - 1);
      for (const { seen, room, left, after } of parts) {
        assertWhole(seen, room);
        if (!left) assert.equal(seen[seen.length - 1], counts[room] - 1);
        if (after !== undefined && seen.length > 0) {
          assert.ok(seen[0] === GAP || seen[0] <= after + 1, `since ${after}: ${seen}`);
        }
      }
      const odd = outcomes.filter((each) => !["resolved", "NOT_IN_ROOM"].includes(each));
      assert.deepEqual(odd, []);
      for (const numbers of Object.values(carriedOut)) {
        assert.deepEqual(numbers, [...new Set(numbers)].sort((one, other) => one - other));
      }
      for (const [number, { room, result }] of results.entries()) {
        // The page may have left this one before the answer.
        if (room === "a" && result === "NOT_IN_ROOM") continue;
        assert.deepEqual([result, carriedOut[room].includes(number)], [number, true]);
      }
      if (history > 100) assert.ok(!parts.some(({ seen }) => seen.includes(GAP)));
    });
  }
}
