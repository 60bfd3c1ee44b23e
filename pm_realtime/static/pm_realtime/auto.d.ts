import type { Realtime } from "./client.js";

/** The page's client, as `{% realtime_client %}` configures it. */
export declare const realtime: Realtime;

declare global {
  interface Window {
    realtime: Realtime;
  }
  interface DocumentEventMap {
    /** Where `window.realtime` has been set. */
    "realtime:ready": CustomEvent<Realtime>;
  }
}
