import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const folder = new URL("../../pm_realtime/static/", import.meta.url);
const modules = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".js"));

/** Read from the source where a module runs only in a page or beside Vue. */
async function exported(name) {
  if (!/\/(auto|vue)\.js$/.test(name)) return Object.keys(await import(new URL(name, folder)));
  const source = readFileSync(new URL(name, folder), "utf8");
  return [...source.matchAll(/^export (?:const|function) (\w+)/gm)].map(([, one]) => one);
}

for (const name of modules) {
  test(`${name} exports what its declarations say`, async () => {
    const declarations = readFileSync(new URL(name.replace(/\.js$/, ".d.ts"), folder), "utf8");
    const declared = [
      ...[...declarations.matchAll(/^export declare (?:const|function|class) (\w+)/gm)].map(([, one]) => one),
      ...[...declarations.matchAll(/^export \{([^}]+)\}/gm)].flatMap(([, list]) => list.split(",").map((one) => one.trim())),
    ];
    assert.deepEqual((await exported(name)).sort(), declared.sort());
  });

  test(`${name} stays within its subject`, () => {
    const lines = readFileSync(new URL(name, folder), "utf8").split("\n").length;
    assert.ok(lines <= 300, `${lines} lines`);
  });
}
