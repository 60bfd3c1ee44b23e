import type { Envelope } from "./client.js";

/** How long the server's `subscribed` also answers other tabs that ask for the room, in ms. */
export declare const FRESH_FOR: 5000;

/** To the server, or to tabs: to all of them where `to` is null. */
export type Effect = { send: Envelope } | { to: string[] | null; envelope: Envelope };

export interface Ledger {
  await(tab: string, rooms: string[]): void;
  settle(tab: string): Effect[];
  command(tab: string, envelope: Envelope): Effect[];
  frame(envelope: Envelope): Effect[];
  leave(tab: string): Effect[];
}

/** What each tab has asked for on one real socket, and so who is to have what comes in on it. */
export declare function createLedger(now?: () => number): Ledger;
