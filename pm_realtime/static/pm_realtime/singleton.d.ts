import type { Realtime, RealtimeOptions } from "./client.js";

/**
 * The one client of this page, made with the options of whoever asks first; it is not connected.
 *
 * It is kept at a symbol of the page, not of the module: where files have hashed names a page may
 * load that twice.
 */
export declare function pageRealtime(options?: RealtimeOptions): Realtime;
