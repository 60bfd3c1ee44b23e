/** Runs the examples of the documentation in a page of stubs with a fake server. */
import { readFileSync, unlinkSync, writeFileSync } from "node:fs";
import * as module from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";

const ROOT = new URL("../../", import.meta.url);
const CLIENT = new URL("pm_realtime/static/pm_realtime/", ROOT).href;

const hooks = `
export function redirect(specifier) {
  if (specifier.startsWith("/static/pm_realtime/")) return ${JSON.stringify(CLIENT)} + specifier.slice(20);
  if (specifier === "@pm-realtime/client") return ${JSON.stringify(CLIENT)} + "client.js";
  if (specifier === "@pm-realtime/client/testing") return ${JSON.stringify(CLIENT)} + "../pm_realtime_testing/testing.js";
  if (specifier === "react") return "data:text/javascript,export const useSyncExternalStore = (subscribe, read) => (globalThis.rendered = { subscribe, read }, read());";
  return specifier;
}
export const resolve = (specifier, context, next) => next(redirect(specifier), context);
`;
const hooksUrl = `data:text/javascript,${encodeURIComponent(hooks)}`;
if (module.registerHooks) module.registerHooks({ resolve: (await import(hooksUrl)).resolve });
else module.register(hooksUrl);

/** The code block after `<!-- mark -->` in a file of this repository. */
export function block(file, mark) {
  const text = readFileSync(new URL(file, ROOT), "utf8");
  const [, found] = text.split(`<!-- ${mark} -->\n\`\`\``);
  return found.slice(found.indexOf("\n") + 1, found.indexOf("\n```"));
}

/** The marks of all examples in a file. */
export function marks(file) {
  const text = readFileSync(new URL(file, ROOT), "utf8");
  return [...text.matchAll(/^<!-- (example: [\w-]+) -->$/gm)].map(([, mark]) => mark);
}

/** Runs the code of a module unchanged, in a page with a fake server. */
export async function run(t, code, options = {}) {
  const server = createFakeServer({ userId: 7, name: "Ada", role: "editor", ...options }).install();
  const said = [];
  const elements = new Map();
  const element = () =>
    Object.assign(new EventTarget(), {
      textContent: "",
      value: "",
      children: [],
      append(child) {
        this.children.push(child);
      },
    });
  const query = (selector) => {
    if (!elements.has(selector)) {
      elements.set(selector, Object.assign(element(), { elements: { text: element(), amount: element() } }));
    }
    return elements.get(selector);
  };
  const document = Object.assign(new EventTarget(), {
    querySelector: query,
    createElement: element,
    visibilityState: "visible",
  });
  const target = new EventTarget();
  Object.assign(globalThis, {
    document,
    location: { href: "https://site.test/page/" },
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
  });
  t.mock.method(console, "log", (...words) => said.push(words.join(" ")));
  t.after(() => {
    // After this close the client has no timers left.
    server.close(4503);
    server.uninstall();
    for (const name of ["document", "location", "addEventListener", "removeEventListener"]) {
      delete globalThis[name];
    }
  });
  const file = join(tmpdir(), `pm-realtime-example-${process.pid}-${Math.random()}.mjs`);
  writeFileSync(file, code);
  t.after(() => unlinkSync(file));
  const exported = await import(pathToFileURL(file));
  await turn();
  return { server, said, query, exported, window: target };
}

export const turn = () => new Promise((resolve) => setImmediate(resolve));
