import type { TabMessage } from "./shared_owner.js";

export interface Bus {
  post(message: TabMessage): void;
  close(): void;
}

/** Messages between the tabs of a group, this tab's own ends among them. */
export declare function createBus(options: {
  name: string;
  self: string;
  BroadcastChannel: typeof globalThis.BroadcastChannel;
  receive(message: TabMessage): void;
}): Bus;
