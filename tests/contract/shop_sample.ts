/** Uses the types of shop.d.ts. Each line after `@ts-expect-error` is a misuse. */
import { createRealtime } from "@pm-realtime/client";
import { useCommand, usePresence, useWebSocket } from "@pm-realtime/client/vue";

import type { Node, NodeInput, SiteCommands, tests_contract_shop_Bid as Bid } from "./shop.js";

const realtime = createRealtime();
const room = { room: `auction:${7}` } as const;

export async function calls() {
  const bid: Bid = { amount: "12.50" };
  const receipt = await realtime.call("auction.bid", bid, room);
  const texts: string[] = [receipt.note, receipt.pk.toFixed()];
  // @ts-expect-error: a number for a decimal.
  await realtime.call("auction.bid", { amount: 12.5 }, room);
  // @ts-expect-error: a field that was renamed.
  await realtime.call("auction.bid", { sum: "12.50" }, room);
  // @ts-expect-error: no room.
  await realtime.call("auction.bid", bid);
  // @ts-expect-error: a room that does not fit.
  await realtime.call("auction.bid", bid, { room: "auction:seven" });
  // @ts-expect-error: another room.
  await realtime.call("support.solve", [1], { room: "help" });
  // @ts-expect-error: a field that the result does not have.
  texts.push(receipt.amount);

  const done: null = await realtime.call("order", { when: "2026-01-01T00:00:00Z", pet: null });
  const page = await realtime.call("orders", { text: "a", levels: ["high"] });
  const wait: string | null | undefined = page.items[0]?.wait;
  // @ts-expect-error: a value that is not in the Literal.
  await realtime.call("orders", { text: "a", levels: ["middle"] });
  // @ts-expect-error: a pet of no kind.
  await realtime.call("order", { when: "2026-01-01T00:00:00Z", pet: { type: "cow" } });

  const input: NodeInput = { nodeId: "1", subNodes: [{ nodeId: "2" }], byColour: { red: 1 } };
  const node: Node = await realtime.call("tree move/up", input);
  const below: Node[] = node.subNodes;
  // @ts-expect-error: the server may leave it out.
  const number: number = node.leftOut;
  // @ts-expect-error: what the server sends has every field.
  const incomplete: Node = { nodeId: "1" };
  const addresses = await realtime.call("address", { streetName: "Main Street" });
  const lines: string[] = addresses.flatMap((address) => address.lines);
  const unknown: unknown = await realtime.call("draft", { any: "thing" }, { room: "draft:7" });
  return { done, texts, wait, below, number, incomplete, lines, unknown };
}

export function handlers() {
  realtime.on("auction.price", ({ payload, room }) => payload.toUpperCase() + room);
  realtime.on("moved", ({ payload: [first] }) => first?.[0].toFixed());
  // The shop's own, instead of the usual one.
  useWebSocket().on("notification", ({ payload }) => payload.pk.toFixed());
  // @ts-expect-error: a part of the usual one.
  realtime.on("notification", ({ payload }) => payload.title);
  realtime.on("broadcast", ({ payload }) => payload.anything);
  // @ts-expect-error: a decimal is a text.
  realtime.on("auction.price", ({ payload }) => payload.toFixed());
}

export async function rooms() {
  await realtime.sendToRoom("support", { text: "Hello" });
  await realtime.sendToRoom("auction:7", 5);
  // @ts-expect-error: not the content of this room.
  await realtime.sendToRoom("support", { txt: "Hello" });
}

export function members() {
  const [first] = realtime.presence("support").members;
  const colour: "red" | "blue" | undefined = first?.info.colour;
  const name: string | undefined = realtime.presence("auction:7").me?.info.name;
  // @ts-expect-error: a part of the info of another room.
  usePresence("auction:7").members.value.map(({ info }) => info.colour);
  return [colour, name, usePresence("support").me.value?.info.name.trim()];
}

export function component() {
  const { call, result } = useCommand("auction.bid", { room: "auction:7" });
  void call({ amount: "12.50" });
  // @ts-expect-error: a number for a decimal.
  void call({ amount: 12.5 });
  // @ts-expect-error: a room that does not fit.
  useCommand("auction.bid", { room: "support" });
  return result.value?.note.toUpperCase();
}

export type Name = keyof SiteCommands;
