/** Members of rooms in tabs whose leaders come and go, in random orders that a seed repeats. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fakeBrowser, rest } from "./fake_tabs.js";
import { seeded } from "./wires.js";

const STEPS = 200;
const SEEDS = 4;
const TABS = 4;
const ROOMS = ["a", "b"];
const TIMEOUT_MS = 5_000;

/** A browser; `step()` lets something happen, `finish()` returns when nothing happens any more. */
function createWorld(seed) {
  const random = seeded(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const browser = fakeBrowser({ automatic: true, name: "Anna" });
  const { server } = browser;
  const people = new Map(ROOMS.map((room) => [room, server.presence(room, { grace: 60_000, max: 4 })]));
  const parts = [];
  const gone = [];
  const wrong = [];

  /** Notes who comes twice, or leaves without having come. */
  function follow(presence, part, room) {
    const here = new Set();
    presence.on("change", ({ members, total }) => {
      if (members.length === 0) here.clear();
      else if (members.length !== total) wrong.push([part.name, room, members.length, total]);
    });
    presence.on("join", ({ key }) => {
      if (here.has(key)) wrong.push([part.name, room, "joined twice", key]);
      here.add(key);
    });
    presence.on("leave", ({ key }) => here.delete(key));
  }

  function open() {
    const tab = browser.tab();
    const part = { name: `tab ${parts.length}`, tab, asleep: false, rooms: new Set() };
    part.client = tab.connect({ maxReconnectAttempts: Infinity });
    for (const room of ROOMS) {
      follow(part.client.presence(room), part, room);
      if (random() < 0.7) toggle(part, room);
    }
    parts.push(part);
  }

  function toggle({ client, rooms }, room) {
    if (rooms.delete(room)) client.unsubscribe(room);
    else {
      rooms.add(room);
      client.subscribe(room);
    }
  }

  const isLeader = ({ tab }) => browser.open.some(({ socket }) => socket.tab === tab);

  function remove(part) {
    parts.splice(parts.indexOf(part), 1);
    gone.push(part);
    return part;
  }

  /** The leader crashes, and the browser closes its socket. */
  function crash(part) {
    remove(part).tab.kill();
    for (const connection of browser.sockets) {
      if (connection.socket.tab === part.tab) connection.close();
    }
  }

  function setAsleep(part, asleep) {
    if (part.asleep === asleep) return;
    part.asleep = asleep;
    if (asleep) part.tab.sleep();
    else part.tab.wake();
  }

  const close = ({ client, tab }) => {
    client.disconnect();
    tab.hide();
  };

  /** Somebody else comes, changes or leaves. */
  function move() {
    const room = people.get(pick(ROOMS));
    const userId = 10 + Math.floor(random() * 5);
    const isHere = room.members.some(({ key }) => key === String(userId));
    if (!isHere) room.join({ userId, info: { name: `User ${userId}` } });
    else if (random() < 0.5) room.update(userId, { state: { n: random() } });
    else room.leave(userId);
  }

  async function step() {
    while (parts.length < TABS) open();
    move();
    const leader = parts.find(isLeader);
    const dice = random();
    if (dice < 0.03 && leader) crash(leader);
    else if (dice < 0.06) close(remove(pick(parts)));
    else if (dice < 0.08 && leader?.client.connected) setAsleep(leader, true);
    else if (dice < 0.12) parts.forEach((part) => setAsleep(part, false));
    else if (dice < 0.14) server.close();
    else if (dice < 0.3) toggle(pick(parts), pick(ROOMS));
    else if (dice < 0.35) pick(parts).client.presence(pick(ROOMS)).setState({ at: dice }).catch(() => {});
    if (random() < 0.4) await rest();
  }

  function isRight({ client, rooms }, room) {
    const { members, total, me } = client.presence(room);
    const { members: all, total: count } = people.get(room);
    const expected = rooms.has(room) && count <= 4 ? all : [];
    const found = members.map(({ state, ...member }) => (state ? { ...member, state } : member));
    const isOwn = (me?.key ?? null) === (expected.find(({ key }) => key === "7")?.key ?? null);
    const isCounted = total === (rooms.has(room) ? count : 0);
    const byKey = (list) => JSON.stringify(list.map(sorted).sort((one, other) => (one[1] < other[1] ? -1 : 1)));
    return client.connected && isOwn && isCounted && byKey(found) === byKey(expected);
  }

  return {
    step,

    async finish() {
      parts.forEach((part) => setAsleep(part, false));
      const start = Date.now();
      const unlike = () => parts.flatMap((part) => ROOMS.filter((room) => !isRight(part, room)).map((room) => [part.name, room]));
      while (unlike().length > 0 && Date.now() - start < TIMEOUT_MS) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const found = unlike();
      for (const part of [...parts, ...gone]) close(part);
      return { wrong, unlike: found };
    },
  };
}

/** The parts of a member, in the order of their names. */
const sorted = (member) => Object.keys(member).sort().map((name) => JSON.stringify([name, member[name]]));

for (let seed = 1; seed <= SEEDS; seed += 1) {
  test(`every tab is right about its rooms as soon as nothing changes (seed ${seed})`, async () => {
    const world = createWorld(seed);
    for (let count = 0; count < STEPS; count += 1) await world.step();
    assert.deepEqual(await world.finish(), { wrong: [], unlike: [] });
  });
}
