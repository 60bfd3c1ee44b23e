import { createRealtime } from "./client.js";

// By a symbol of the page, not of this module: under hashed names a page may load a file twice.
const KEY = Symbol.for("pm_realtime");

export function pageRealtime(options) {
  globalThis[KEY] ??= createRealtime({ ...options, autoConnect: false });
  return globalThis[KEY];
}
