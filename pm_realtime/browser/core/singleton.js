import { createRealtime } from "../client.js";

const KEY = Symbol.for("pm_realtime");

export function pageRealtime(options) {
  globalThis[KEY] ??= createRealtime({ ...options, autoConnect: false });
  return globalThis[KEY];
}
