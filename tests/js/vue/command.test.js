/** Commands of the site in Vue components, with a fake server. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { createFakeServer } from "../../../pm_realtime/static/pm_realtime_testing/testing.js";
import { document } from "./page.js";

const { createApp, effectScope, h, isReadonly, nextTick, ref } = await import("vue");
const { createRealtime, RealtimeError } = await import("../../../pm_realtime/browser/client.js");
const { realtimeKey, useCommand, useWebSocket } = await import("../../../pm_realtime/browser/vue.js");

const KEY = Symbol.for("pm_realtime");
let server;
let calls;

beforeEach(() => {
  server = createFakeServer({ userId: 7, role: "editor" }).install();
  calls = [];
  server.handle("bid", (payload, request) => {
    const call = { payload, request };
    calls.push(call);
    return new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
  });
  server.handle("echo", (payload, { room }) => ({ payload, room }), { joined: false });
});
afterEach(() => {
  globalThis[KEY]?.disconnect();
  delete globalThis[KEY];
  server.uninstall();
});

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Mounts a component that shows the state of a command. */
async function mount(t, setup, { provide } = {}) {
  let command;
  const app = createApp({
    setup() {
      command = setup();
      const { pending, error, result } = command;
      return () => h("p", [pending.value, error.value?.code, JSON.stringify(result.value)].join(" "));
    },
  });
  if (provide) app.provide(realtimeKey, provide);
  const warnings = [];
  app.config.warnHandler = (text) => warnings.push(text);
  const host = document.createElement("div");
  app.mount(host);
  let mounted = true;
  const unmount = () => {
    if (mounted) app.unmount();
    mounted = false;
  };
  t.after(() => {
    unmount();
    assert.deepEqual(warnings, []);
  });
  await turn();
  return { command, unmount, text: () => nextTick(() => host.textContent) };
}

const connectedCommand = (...options) => () => {
  useWebSocket({ autoConnect: true });
  return useCommand(...options);
};

test("shows that a call is pending, and then its result", async (t) => {
  const { command, text } = await mount(t, connectedCommand("bid"));
  assert.equal(await text(), "false  ");
  const answer = command.call({ amount: "1" });
  assert.equal(await text(), "true  ");
  await turn();
  assert.deepEqual(calls[0].payload, { amount: "1" });
  calls[0].resolve({ pk: 1 });
  const receipt = await answer;
  assert.deepEqual([command.pending.value, command.error.value], [false, null]);
  assert.equal(command.result.value, receipt);
  assert.deepEqual(receipt, { pk: 1 });
  assert.equal(await text(), 'false  {"pk":1}');
});

test("shows an error until the next call, and keeps the last result", async (t) => {
  const { command, text } = await mount(t, connectedCommand("bid"));
  const first = command.call(1);
  await turn();
  calls[0].resolve("first");
  await first;
  const second = command.call(2);
  await turn();
  calls[1].reject({ code: "OVER", message: "Over.", data: { at: 1 }, path: "amount" });
  await assert.rejects(second, { code: "OVER" });
  const error = command.error.value;
  assert.ok(error instanceof RealtimeError);
  assert.deepEqual([error.message, error.data, error.path], ["Over.", { at: 1 }, "amount"]);
  assert.equal(await text(), 'false OVER "first"');
  const third = command.call(3);
  assert.equal(await text(), 'true  "first"');
  await turn();
  calls[2].resolve(null);
  assert.equal(await third, null);
  assert.equal(await text(), "false  null");
});

test("of calls at the same time, result and error are those of the last", async (t) => {
  const { command, text } = await mount(t, connectedCommand("bid"));
  const answers = [command.call(1), command.call(2), command.call(3)];
  await turn();
  calls[1].resolve("second");
  await answers[1];
  assert.equal(await text(), 'true  "second"');
  calls[0].reject({ code: "OVER" });
  await assert.rejects(answers[0], { code: "OVER" });
  assert.equal(await text(), 'true  "second"');
  calls[2].reject({ code: "LATE" });
  await assert.rejects(answers[2], { code: "LATE" });
  assert.equal(await text(), 'false LATE "second"');
  const [older, newer] = [command.call(4), command.call(5)];
  await turn();
  calls[4].resolve("newer");
  await newer;
  calls[3].resolve("older");
  assert.equal(await older, "older");
  assert.equal(command.result.value, "newer");
});

test("the room may be a text, a ref or a getter, read at each call", async (t) => {
  const name = ref("a");
  const rooms = async (room) => {
    const { command } = await mount(t, connectedCommand("echo", { room }));
    name.value = "a";
    const first = await command.call();
    name.value = "b";
    return [first.room, (await command.call()).room];
  };
  assert.deepEqual(await rooms("fixed"), ["fixed", "fixed"]);
  assert.deepEqual(await rooms(name), ["a", "b"]);
  assert.deepEqual(await rooms(() => `auction:${name.value}`), ["auction:a", "auction:b"]);
  assert.deepEqual(await rooms(undefined), [undefined, undefined]);
});

test("a call ends after its timeout", async (t) => {
  const { command, text } = await mount(t, connectedCommand("bid", { timeout: 5 }));
  await assert.rejects(command.call(1), { code: "TIMEOUT" });
  assert.equal(await text(), "false TIMEOUT ");
});

test("a failed call that nobody handles is no unhandled rejection", async (t) => {
  const seen = [];
  const note = (reason) => seen.push(reason);
  process.on("unhandledRejection", note);
  t.after(() => process.off("unhandledRejection", note));
  const { command, text } = await mount(t, connectedCommand("unknown"));
  command.call(1);
  await turn();
  await turn();
  assert.equal(await text(), "false UNKNOWN_TYPE ");
  command.call(1n);
  await turn();
  assert.ok(command.error.value instanceof TypeError);
  assert.deepEqual(seen, []);
});

test("a call of a component that is unmounted meanwhile ends for its caller", async (t) => {
  const { command, unmount } = await mount(t, connectedCommand("bid"));
  const answers = [command.call(1), command.call(2)];
  await turn();
  unmount();
  const { pending, error, result } = command;
  calls[0].resolve("done");
  calls[1].reject({ code: "OVER" });
  assert.equal(await answers[0], "done");
  await assert.rejects(answers[1], { code: "OVER" });
  // Nothing changes in a component that is gone.
  assert.deepEqual([pending.value, error.value, result.value], [true, null, undefined]);
  const late = command.call(3);
  await turn();
  calls[2].resolve("late");
  assert.equal(await late, "late");
  assert.deepEqual([error.value, result.value], [null, undefined]);
});

test("a call waits for a connection, also if its component is gone", async (t) => {
  const { command, unmount } = await mount(t, connectedCommand("bid"));
  server.goDown();
  const answer = command.call(1);
  unmount();
  server.comeBack();
  globalThis[KEY].connect();
  while (calls.length === 0) await turn();
  calls[0].resolve("sent");
  assert.equal(await answer, "sent");
});

test("two components have their own state", async (t) => {
  const one = await mount(t, connectedCommand("bid"));
  const other = await mount(t, connectedCommand("bid"));
  one.command.call(1);
  assert.deepEqual([await one.text(), await other.text()], ["true  ", "false  "]);
  const answer = other.command.call(2);
  await turn();
  calls[1].resolve("other");
  await answer;
  assert.deepEqual([await one.text(), await other.text()], ["true  ", 'false  "other"']);
});

test("works in any effect scope, and outside of one, with the page's client", async () => {
  const scope = effectScope();
  const inside = scope.run(() => useCommand("echo"));
  const outside = useCommand("echo");
  // Whoever connects may set the options.
  const { connect } = useWebSocket({ url: "ws://elsewhere.test/" });
  connect();
  assert.equal(server.last.url, "ws://elsewhere.test/");
  assert.deepEqual([(await inside.call(1)).payload, (await outside.call(2)).payload], [1, 2]);
  scope.stop();
  assert.equal((await inside.call(3)).payload, 3);
  assert.equal(inside.result.value.payload, 1);
});

test("uses the client that the app provides", async (t) => {
  const own = createRealtime({ url: "ws://own.test/", autoConnect: true });
  t.after(() => own.disconnect());
  const { command } = await mount(t, () => useCommand("echo"), { provide: own });
  assert.deepEqual(await command.call(1), { payload: 1 });
  assert.equal(globalThis[KEY], undefined);
});

test("the state is readonly, and the result is as it came", async (t) => {
  const { command } = await mount(t, connectedCommand("echo"));
  const { pending, error, result, call } = command;
  for (const each of [pending, error, result]) assert.ok(isReadonly(each));
  const answer = await call({ nested: { n: 1 } });
  assert.equal(result.value, answer);
  assert.deepEqual(structuredClone(result.value), { payload: { nested: { n: 1 } } });
});

test("useWebSocket() has call, too", async () => {
  const { call, connect } = useWebSocket();
  connect();
  assert.deepEqual(await call("echo", 1, { room: "a" }), { payload: 1, room: "a" });
});
