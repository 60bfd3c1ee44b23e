import { createRealtime } from "../client.js";

const KEY = Symbol.for("pm_realtime");

/**
 * The one client of this page, not connected. The options of the first call count.
 *
 * It is kept at a symbol of the page and not in this module: if files have hashed names, a page may
 * load the module twice.
 */
export function pageRealtime(options) {
  globalThis[KEY] ??= createRealtime({ ...options, autoConnect: false });
  return globalThis[KEY];
}
