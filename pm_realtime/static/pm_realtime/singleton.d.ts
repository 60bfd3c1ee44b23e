import type { Realtime, RealtimeOptions } from "./client.js";

/** The one client of this page, made with the options of whoever asks first; it is not connected. */
export declare function pageRealtime(options?: RealtimeOptions): Realtime;
