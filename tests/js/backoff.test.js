import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffDelay, createBackoff } from "../../pm_realtime/browser/core/backoff.js";

const MAX_DELAY_MS = 30_000;

test("the bound doubles up to the longest delay", () => {
  const bounds = [0, 1, 2, 3, 4, 5, 6, 50, 2000].map((attempt) => backoffDelay(attempt, 1000, () => 1));
  assert.deepEqual(bounds, [1000, 2000, 4000, 8000, 16000, MAX_DELAY_MS, MAX_DELAY_MS, MAX_DELAY_MS, MAX_DELAY_MS]);
});

test("the delay is random between 0 and the bound", () => {
  assert.equal(backoffDelay(3, 1000, () => 0), 0);
  assert.equal(backoffDelay(3, 1000, () => 0.5), 4000);
  const drawn = Array.from({ length: 200 }, () => backoffDelay(2, 500));
  assert.ok(drawn.every((delay) => delay >= 0 && delay <= 2000));
  assert.ok(new Set(drawn).size > 50);
});

/** The delays of `count` attempts in a row; `random()` gives the random numbers. */
function delaysOf(t, count, random, next = createBackoff()) {
  const { mock } = t.mock.method(Math, "random", random);
  const delays = Array.from({ length: count }, (_, attempt) => next(attempt, 1000));
  mock.restore();
  return delays;
}

const sum = (delays) => delays.reduce((total, delay) => total + delay);

test("the window of an attempt begins when the one before ends", (t) => {
  assert.deepEqual(delaysOf(t, 5, () => 1), [1000, 2000, 4000, 8000, 16_000]);
  assert.deepEqual(delaysOf(t, 5, () => 0), [0, 1000, 2000, 4000, 8000]);
  assert.deepEqual(delaysOf(t, 4, () => 0.25), [250, 1250, 2500, 5000]);
});

test("no delay exceeds its bound, and the fifth attempt comes after 15 s at the earliest", (t) => {
  const draw = Math.random;
  const earliest = [];
  for (let trial = 0; trial < 2000; trial += 1) {
    // Every second trial has the extremes only: nothing or all of a window.
    const random = trial % 2 ? draw : () => Math.round(draw());
    const delays = delaysOf(t, 8, random);
    delays.forEach((delay, attempt) => assert.ok(delay <= Math.min(MAX_DELAY_MS, 1000 * 2 ** attempt)));
    earliest.push(sum(delays.slice(0, 5)));
  }
  assert.ok(Math.min(...earliest) >= 15_000, `${Math.min(...earliest)}`);
  assert.ok(new Set(earliest).size > 500);
});

test("the unused part of a window is added to the next", (t) => {
  const drawn = [0, 0.9999, 0, 0.9999, 0];
  assert.ok(sum(delaysOf(t, 5, () => drawn.shift())) >= 15_000);
});

test("a new series of attempts starts with a full window", (t) => {
  const next = createBackoff();
  delaysOf(t, 3, () => 0, next);
  assert.deepEqual(delaysOf(t, 2, () => 0, next), [0, 1000]);
});
