import type { Realtime } from "./client.js";

/** The page's client, with the options of `{% realtime_client %}`. */
export declare const realtime: Realtime;

type Handler = (realtime: Realtime) => void;

declare global {
  interface Window {
    realtime: Realtime;
    /**
     * Write `(window.realtimeReady ||= []).push((realtime) => { … })` in any script of the page.
     * From the moment that there is a client, this is also a promise of it.
     */
    realtimeReady: Handler[] | (Promise<Realtime> & { push(...handlers: Handler[]): void });
  }
  interface DocumentEventMap {
    /** `window.realtime` has been set. */
    "realtime:ready": CustomEvent<Realtime>;
  }
}
