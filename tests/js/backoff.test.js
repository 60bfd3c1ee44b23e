import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffDelay, createBackoff, MAX_DELAY } from "../../pm_realtime/browser/core/backoff.js";

test("the bound doubles and ends at the longest delay", () => {
  const bounds = [0, 1, 2, 3, 4, 5, 6, 50, 2000].map((attempt) => backoffDelay(attempt, 1000, () => 1));
  assert.deepEqual(bounds, [1000, 2000, 4000, 8000, 16000, MAX_DELAY, MAX_DELAY, MAX_DELAY, MAX_DELAY]);
});

test("the jitter is full: from nothing to the bound", () => {
  assert.equal(backoffDelay(3, 1000, () => 0), 0);
  assert.equal(backoffDelay(3, 1000, () => 0.5), 4000);
  const drawn = Array.from({ length: 200 }, () => backoffDelay(2, 500));
  assert.ok(drawn.every((delay) => delay >= 0 && delay <= 2000));
  assert.ok(new Set(drawn).size > 50);
});

/** The delays of `count` attempts in a row, where `random` is what is drawn. */
function delaysOf(t, count, random, next = createBackoff()) {
  const { mock } = t.mock.method(Math, "random", random);
  const delays = Array.from({ length: count }, (_, attempt) => next(attempt, 1000));
  mock.restore();
  return delays;
}

const sum = (delays) => delays.reduce((total, delay) => total + delay);

test("each attempt has a window of its own, after that of the last", (t) => {
  assert.deepEqual(delaysOf(t, 5, () => 1), [1000, 2000, 4000, 8000, 16_000]);
  assert.deepEqual(delaysOf(t, 5, () => 0), [0, 1000, 2000, 4000, 8000]);
  assert.deepEqual(delaysOf(t, 4, () => 0.25), [250, 1250, 2500, 5000]);
});

test("no delay is over its bound, and the fifth attempt comes after 15 s at the earliest", (t) => {
  const draw = Math.random;
  const earliest = [];
  for (let trial = 0; trial < 2000; trial += 1) {
    // Now and then the worst: nothing or all of a window.
    const random = trial % 2 ? draw : () => Math.round(draw());
    const delays = delaysOf(t, 8, random);
    delays.forEach((delay, attempt) => assert.ok(delay <= Math.min(MAX_DELAY, 1000 * 2 ** attempt)));
    earliest.push(sum(delays.slice(0, 5)));
  }
  assert.ok(Math.min(...earliest) >= 15_000, `${Math.min(...earliest)}`);
  assert.ok(new Set(earliest).size > 500);
});

test("a window that was cut short is made up for", (t) => {
  const drawn = [0, 0.9999, 0, 0.9999, 0];
  assert.ok(sum(delaysOf(t, 5, () => drawn.shift())) >= 15_000);
});

test("attempts that begin anew owe nothing to those before", (t) => {
  const next = createBackoff();
  delaysOf(t, 3, () => 0, next);
  assert.deepEqual(delaysOf(t, 2, () => 0, next), [0, 1000]);
});
