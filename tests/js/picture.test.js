import assert from "node:assert/strict";
import { test } from "node:test";

import { applyPresence, createPicture, writePicture } from "../../pm_realtime/browser/core/picture.js";

const member = (key, more) => ({ key, userId: key, info: { name: key }, since: 1, connections: 1, ...more });
const change = (prev, rev, more) => ({ room: "a", prev, rev, total: 2, joined: [], updated: [], left: [], ...more });
const keys = ({ members }) => members && [...members.keys()];
const start = () => createPicture({ rev: 5, total: 2, members: [member("ada"), member("bob")], me: "ada" });

test("a picture has what an answer tells, and is written as such", () => {
  for (const answer of [
    { rev: 5, total: 1, members: [member("ada", { state: { typing: true } })], me: "ada" },
    { rev: 5, total: 300 },
  ]) {
    assert.deepEqual(writePicture(createPicture(answer)), answer);
  }
  assert.deepEqual(keys(start()), ["ada", "bob"]);
});

test("a change that follows is applied", () => {
  const before = start();
  const after = applyPresence(before, change(5, 8, {
    joined: [member("eve")],
    updated: [member("bob", { connections: 2 })],
    left: ["ada", "unknown"],
  }));
  assert.deepEqual([after.rev, after.total, after.me, keys(after)], [8, 2, "ada", ["bob", "eve"]]);
  assert.equal(after.members.get("bob").connections, 2);
  assert.deepEqual(keys(before), ["ada", "bob"], "a picture does not change");
});

test("a change that begins earlier is applied, as its members are absolute", () => {
  assert.deepEqual(keys(applyPresence(start(), change(2, 8, { joined: [member("ada")], left: ["bob"] }))), ["ada"]);
});

test("a change that is in the picture already is ignored", () => {
  const before = start();
  for (const rev of [4, 5, undefined]) assert.equal(applyPresence(before, change(3, rev, { left: ["ada"] })), before);
});

test("a change after one that was missed cannot be applied", () => {
  assert.equal(applyPresence(start(), change(6, 8)), null);
});

test("a message with all members takes the place of the picture", () => {
  const after = applyPresence(start(), { room: "a", prev: 7, rev: 8, total: 1, members: [member("eve")] });
  assert.deepEqual([after.rev, after.total, after.me, keys(after)], [8, 1, "ada", ["eve"]]);
  assert.equal(applyPresence(start(), { room: "a", prev: 7, rev: 8, total: 0, members: [], me: "eve" }).me, "eve");
});

test("a message without members has only their number, after which no change can be applied", () => {
  const after = applyPresence(start(), { room: "a", prev: 7, rev: 8, total: 300 });
  assert.deepEqual([after.rev, after.total, after.members], [8, 300, null]);
  assert.equal(applyPresence(after, change(8, 9)), null);
  assert.deepEqual(keys(applyPresence(after, { room: "a", prev: 8, rev: 9, total: 0, members: [] })), []);
});

test("a member that is as it was stays the same object", () => {
  const before = start();
  const whole = [member("bob", { state: null }), member("ada", { connections: 2 })];
  const after = createPicture({ rev: 9, total: 2, members: whole }, before);
  assert.equal(after.members.get("bob"), before.members.get("bob"));
  assert.notEqual(after.members.get("ada"), before.members.get("ada"));
  assert.throws(() => {
    after.members.get("ada").connections = 3;
  }, TypeError);
});
