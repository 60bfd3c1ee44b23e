import type { Realtime } from "./client.js";

/** The page's client, with the options of `{% realtime_client %}`. */
export declare const realtime: Realtime;

declare global {
  interface Window {
    realtime: Realtime;
  }
  interface DocumentEventMap {
    /** `window.realtime` has been set. */
    "realtime:ready": CustomEvent<Realtime>;
  }
}
