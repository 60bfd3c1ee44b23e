/** Tabs that call commands while leaders come and go, in random orders that a seed repeats. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fakeBrowser, rest } from "./fake_tabs.js";
import { seeded } from "./wires.js";

const STEPS = 150;
const SEEDS = 4;
const TABS = 4;
const ROOMS = ["a", "b"];

/** A browser; `step()` lets something happen, `finish()` brings all to its end. */
function createWorld(seed) {
  const random = seeded(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const browser = fakeBrowser({ automatic: true });
  const { server } = browser;
  // By tab and room, the numbers that were carried out.
  const carriedOut = new Map();
  const wrong = [];
  const parts = [];
  const gone = [];
  let count = 0;

  server.handle("step", async ({ name, number }, { room }) => {
    if (random() < 0.5) await rest();
    const key = `${name} ${room}`;
    carriedOut.set(key, [...(carriedOut.get(key) ?? []), number]);
    return { name, number };
  });

  function open() {
    const tab = browser.tab();
    count += 1;
    const part = { name: `tab ${count}`, tab, calls: [], asleep: false };
    part.client = tab.connect({ maxReconnectAttempts: Infinity });
    for (const room of ROOMS) part.client.subscribe(room);
    part.client.on("result", ({ payload }) => {
      if (payload.name !== part.name) wrong.push([part.name, payload]);
    });
    parts.push(part);
  }

  const isLeader = ({ tab }) => browser.open.some(({ socket }) => socket.tab === tab);

  function call({ client, name, calls }) {
    const number = calls.length;
    const options = { room: pick(ROOMS), timeout: 60_000 };
    const settled = client.call("step", { name, number }, options).catch(({ code }) => code);
    calls.push(settled);
  }

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

  function sleep(part) {
    part.asleep = true;
    part.tab.sleep();
  }

  function wake(part) {
    if (!part?.asleep) return;
    part.asleep = false;
    part.tab.wake();
  }

  const close = ({ client, tab }) => {
    client.disconnect();
    tab.hide();
  };

  async function step() {
    while (parts.length < TABS) open();
    const awake = parts.filter(({ asleep }) => !asleep);
    if (awake.length > 0) call(pick(awake));
    const leader = parts.find(isLeader);
    const dice = random();
    if (dice < 0.03 && leader) crash(leader);
    else if (dice < 0.05) close(remove(pick(parts)));
    // Timers go on in a fake tab that sleeps, such as that of a client which waits to connect.
    else if (dice < 0.07 && leader?.client.connected && !leader.asleep) sleep(leader);
    else if (dice < 0.1) wake(parts.find(({ asleep }) => asleep));
    else if (dice < 0.12) server.close();
    if (random() < 0.3) await rest();
  }

  return {
    step,

    async finish() {
      parts.forEach(wake);
      const results = await Promise.all(parts.map(({ calls }) => Promise.all(calls)));
      for (const part of [...parts, ...gone]) close(part);
      return { results, names: parts.map(({ name }) => name), carriedOut, wrong };
    },
  };
}

for (let seed = 1; seed <= SEEDS; seed += 1) {
  test(`each call is carried out once, in order, and answered in its tab (seed ${seed})`, async () => {
    const world = createWorld(seed);
    for (let count = 0; count < STEPS; count += 1) await world.step();
    const { results, names, carriedOut, wrong } = await world.finish();
    assert.deepEqual(wrong, []);
    for (const [index, name] of names.entries()) {
      assert.deepEqual(results[index], results[index].map((_, number) => ({ name, number })));
    }
    for (const numbers of carriedOut.values()) {
      const sorted = [...new Set(numbers)].sort((one, other) => one - other);
      assert.deepEqual(numbers, sorted);
    }
  });
}
