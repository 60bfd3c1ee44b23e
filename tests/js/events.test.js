import assert from "node:assert/strict";
import { test } from "node:test";

import { createEvents } from "../../pm_realtime/browser/core/events.js";

test("a handler that throws does not keep the others from running", (t) => {
  const logged = t.mock.method(console, "error", () => {});
  const events = createEvents();
  const seen = [];
  events.on("message", () => {
    throw new Error("mine");
  });
  events.on("message", (detail) => seen.push(detail));
  events.emit("message", 1);
  assert.deepEqual(seen, [1]);
  assert.equal(logged.mock.calls[0].arguments[0].message, "mine");
});

test("once() runs one time, and both return a function that removes the handler", () => {
  const events = createEvents();
  const seen = [];
  events.once("a", () => seen.push("once"));
  events.once("a", () => seen.push("never"))();
  const off = events.on("a", () => seen.push("on"));
  events.emit("a");
  events.emit("a");
  off();
  off();
  events.emit("a");
  assert.deepEqual(seen, ["once", "on", "on"]);
});

test("a handler that an earlier one removes does not run", () => {
  const events = createEvents();
  const seen = [];
  let off = () => {};
  events.on("a", () => off());
  off = events.on("a", () => seen.push("late"));
  events.emit("a");
  assert.deepEqual(seen, []);
});

test("a function that is added twice is two handlers", () => {
  const events = createEvents();
  let count = 0;
  const handler = () => {
    count += 1;
  };
  events.on("a", handler);
  events.on("a", handler)();
  events.emit("a");
  assert.equal(count, 1);
});

test("a handler must be a function", () => {
  assert.throws(() => createEvents().on("a", null), TypeError);
});
