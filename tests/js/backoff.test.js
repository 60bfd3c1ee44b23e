import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffDelay, MAX_DELAY } from "../../pm_realtime/static/pm_realtime/backoff.js";

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
