import type { Connection, ConnectionHooks, ConnectionSettings } from "./connection.js";

type Make = (settings: ConnectionSettings, hooks: ConnectionHooks) => Connection;

/**
 * The connection of a module that is loaded when it is needed. Where that fails, one of this tab
 * alone.
 */
export declare function createLazyConnection(
  load: () => Promise<{ createSharedConnection: Make }>,
  settings: ConnectionSettings,
  hooks: ConnectionHooks,
): Connection;
