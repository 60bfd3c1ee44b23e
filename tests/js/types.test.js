/** The public files have what their declarations name, and nothing else. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inspect } from "node:util";

const folder = new URL("../../pm_realtime/static/", import.meta.url);
const read = (name) => readFileSync(new URL(name, folder), "utf8");
const PUBLIC = ["pm_realtime/client", "pm_realtime/vue", "pm_realtime/auto", "pm_realtime_testing/testing"];

/** `auto.js` and `vue.js` only run in a page or beside Vue, so their text is read instead. */
async function exported(name) {
  if (!/\/(auto|vue)$/.test(name)) return Object.keys(await import(new URL(`${name}.js`, folder)));
  const [, list] = read(`${name}.js`).match(/export\{([^}]+)\}/);
  return list.split(",").map((one) => one.split(" as ").at(-1));
}

for (const name of PUBLIC) {
  test(`${name}.js exports what its declarations name`, async () => {
    const declarations = read(`${name}.d.ts`);
    const declared = [
      ...[...declarations.matchAll(/^export declare (?:const|function|class) (\w+)/gm)].map(([, one]) => one),
      ...[...declarations.matchAll(/^export \{([^}]+)\}/gm)].flatMap(([, list]) => list.split(",").map((one) => one.trim())),
    ];
    assert.deepEqual((await exported(name)).sort(), declared.sort());
  });
}

test("errors keep their class name in the built file", async () => {
  const { RealtimeError } = await import(new URL("pm_realtime/client.js", folder));
  assert.match(inspect(new RealtimeError("TIMEOUT")), /^RealtimeError: The server did not answer/);
});

/** The members of an interface, with those of the interfaces in this file that it extends. */
function membersOf(file, name) {
  const declarations = read(`${file}.d.ts`).replace(/\/\*[^]*?\*\//g, "");
  const [, parents, body] = declarations.match(
    new RegExp(`^(?:export )?(?:declare class|interface) ${name}(?: extends ([^{]+))? {\n([^]*?)^}`, "m"),
  );
  const own = [...body.matchAll(/^  (?:readonly )?(\w+)[?<(:]/gm)].map(([, one]) => one);
  const inherited = (parents ?? "").split(",").map((one) => one.trim()).filter(Boolean);
  const found = [...own.filter((one) => one !== "constructor"), ...inherited.flatMap((one) => {
    return declarations.includes(`interface ${one} {`) ? membersOf(file, one) : [];
  })];
  // An overload names its member again.
  return [...new Set(found)].sort();
}

const { createRealtime, RealtimeError } = await import(new URL("pm_realtime/client.js", folder));
const { createFakeServer } = await import(new URL("pm_realtime_testing/testing.js", folder));
const CLIENT = "pm_realtime/client";
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("a client has the members that are declared", () => {
  assert.deepEqual(Object.keys(createRealtime()).sort(), membersOf(CLIENT, "Realtime"));
});

test("the state and the errors have the members that are declared", () => {
  assert.deepEqual(Object.keys(createRealtime().store.getSnapshot()).sort(), membersOf(CLIENT, "RealtimeState"));
  assert.deepEqual(Object.keys(createRealtime().store).sort(), membersOf(CLIENT, "Store<T>"));
  const own = Object.keys(new RealtimeError("TIMEOUT")).filter((key) => key !== "name");
  assert.deepEqual(own.sort(), membersOf(CLIENT, "RealtimeError"));
});

test("the fake server has the members that are declared", () => {
  const server = createFakeServer();
  assert.deepEqual(Object.keys(server).sort(), membersOf("pm_realtime_testing/testing", "FakeServer"));
  new server.WebSocket("ws://site.test/");
  assert.deepEqual(Object.keys(server.last).sort(), membersOf("pm_realtime_testing/testing", "FakeConnection"));
});

test("every declared option is read, and no other", () => {
  const sources = ["client.js", "core/connection.js"].map((name) =>
    readFileSync(new URL(`../../pm_realtime/browser/${name}`, import.meta.url), "utf8"),
  );
  const used = new Set([...sources.join("").matchAll(/\bsettings\.(\w+)/g)].map(([, one]) => one));
  // The template tag sets this one, for itself.
  used.delete("sharedModule");
  assert.deepEqual([...used].sort(), membersOf(CLIENT, "RealtimeOptions"));
});

test("events have the members that are declared", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = createFakeServer({ automatic: false });
  const seen = { ":status": new Set(), ":close": new Set(), ":open": new Set() };
  let refused = false;
  class WebSocket extends server.WebSocket {
    constructor(...options) {
      if (refused) throw new DOMException("Refused.", "SecurityError");
      super(...options);
    }
  }
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket, maxReconnectAttempts: 1 });
  for (const type of Object.keys(seen)) {
    realtime.on(type, (detail) => Object.keys(detail).forEach((key) => seen[type].add(key)));
  }
  realtime.connect();
  server.last.accept({ idempotencyPeriod: 300_000, cursors: {}, recovered: true });
  server.last.close(1006);
  t.mock.timers.tick(1000);
  server.last.close(1006);
  realtime.connect();
  server.last.close(1006);
  refused = true;
  t.mock.timers.tick(1000);
  assert.deepEqual([...seen[":close"]].filter((key) => key !== "final").sort(), membersOf(CLIENT, "CloseDetail"));
  assert.deepEqual([...seen[":status"]].sort(), membersOf(CLIENT, "StatusDetail"));
  assert.deepEqual([...seen[":open"]].sort(), membersOf(CLIENT, "ConnectedPayload"));
});

test("a subscription and its answer have leave()", async () => {
  const server = createFakeServer();
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket: server.WebSocket, autoConnect: true });
  await turn();
  const subscription = realtime.subscribe("a");
  const answer = await subscription;
  for (const each of [subscription, answer]) assert.deepEqual(Object.getOwnPropertyNames(each).filter((key) => key === "leave"), membersOf(CLIENT, "Leave"));
  assert.ok(subscription instanceof Promise);
  realtime.disconnect();
});
