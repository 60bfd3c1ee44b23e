/** Each public file has the exports that its declarations name. */
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
