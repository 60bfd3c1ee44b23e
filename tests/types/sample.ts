/** Uses everything that the package exports, and passes `tsc --strict`. */
import {
  BATCH_SUBPROTOCOL,
  backoffDelay,
  CloseCode,
  createRealtime,
  ErrorCode,
  LocalErrorCode,
  MAX_QUEUED,
  mayReconnect,
  MessageType,
  RealtimeError,
  SUBPROTOCOL,
} from "@pm-realtime/client";
import type {
  AckPayload,
  CallArguments,
  CallOptions,
  CloseDetail,
  CommandName,
  CommandPayload,
  CommandResult,
  CommandRoom,
  ConnectedPayload,
  Envelope,
  ErrorPayload,
  EventName,
  EventOf,
  GapDetail,
  Joined,
  Leave,
  MessagePayload,
  NotificationPayload,
  PayloadArgument,
  Presence,
  PresenceEvents,
  PresenceInfo,
  PresenceMember,
  PresencePayload,
  PresencePicture,
  PresenceSnapshot,
  PresenceState,
  PresentMember,
  Realtime,
  RealtimeCommands,
  RealtimeEvents,
  RealtimeMessages,
  RealtimeOptions,
  RealtimePresence,
  RealtimeRooms,
  RealtimeState,
  RoomContent,
  RoomName,
  RoomPayload,
  SendOptions,
  SetStateOptions,
  Status,
  StatusDetail,
  Store,
  SubscribeOptions,
  Subscription,
  UnsubscribedPayload,
  UserId,
  WebSocketClass,
} from "@pm-realtime/client";
import { createFakeServer } from "@pm-realtime/client/testing";
import type { FakeConnection, FakeHandler, FakeHandlerOptions, FakeMember, FakePresence, FakePresenceOptions, FakePushOptions, FakeRequest, FakeServer, FakeServerOptions, FakeUser } from "@pm-realtime/client/testing";
import { realtimeKey, useCommand, usePresence, useWebSocket } from "@pm-realtime/client/vue";
import type { CommandInComponent, PresenceInComponent, RealtimeInComponent, RealtimeRefs, UseCommandOptions } from "@pm-realtime/client/vue";
import { createApp, inject, ref } from "vue";
import type { Ref } from "vue";

declare module "@pm-realtime/client" {
  interface RealtimeMessages {
    export: { by: string; rows: number };
  }
  interface RealtimeCommands {
    bid: { payload: { amount: string; note?: string }; result: { pk: number }; room: `auction:${number}` };
    touch: { result: number; room: "support" };
    clear: { result: null };
    filter: { payload: { word: string } | null; result: string[] };
    anything: { payload: unknown; result: unknown };
  }
  interface RealtimeRooms {
    support: { content: { text: string } };
    "auction:<int:pk>": { room: `auction:${number}`; content: string };
    "project:<str:name>": { room: `project:${string}`; content: boolean };
    "project:new": { content: number };
  }
  interface RealtimePresence {
    support: { info: { name: string; photo?: string }; state: { typing: true } };
    "auction:<int:pk>": { room: `auction:${number}`; info: { company: string } };
  }
}

/** Fails to compile if the two types differ. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>): void => {};

const user = { userId: "u1", name: "Ada", role: "editor" };
const serverOptions: FakeServerOptions = { automatic: true, history: 100, idempotencyPeriod: 1000, ...user };
const server: FakeServer = createFakeServer(serverOptions);
const connection: FakeConnection | undefined = server.last;
server.install().uninstall();
server.refuse("subscribe", ErrorCode.FORBIDDEN, { room: "a" });
server.push("export", { by: "ada" }, { room: "a", id: "1" });
const free: () => void = server.handle("bid", ({ amount }, { room, user, id }) => {
  same<[typeof amount, typeof room], [string, `auction:${number}`]>(true);
  same<[typeof user, typeof id], [FakeUser, string | undefined]>(true);
  return { pk: 1 };
});
free();
server.handle("bid", async () => ({ pk: 1 }), { joined: false } satisfies FakeHandlerOptions);
server.handle("clear", () => {});
server.handle("clear", async () => null);
const handler: FakeHandler = (payload: { by: string }, request: FakeRequest) => [payload.by, request.room];
server.handle("undeclared", handler);
server.handle("undeclared", (payload: { by: string }, { user }) => [payload.by, user?.name]);
const target: FakePushOptions = { to: "role:editor", exclude: connection?.url ?? "c" };
server.push("export", { by: "ada" }, target);
const presenceOptions: FakePresenceOptions = { per: "connection", max: 5, see: true, beSeen: false, grace: 0 };
const people: FakePresence<"support"> = server.presence("support", presenceOptions);
const typing: FakeMember<"support"> = { state: { typing: true } };
people.join({ userId: 8, info: { name: "Eve" }, since: 1 });
people.update(8, typing);
people.leave("8");
same<typeof people.members, PresentMember[]>(true);
server.presence(`room ${people.total}`).join({ key: "k", info: { name: "any" } });
server.drop();
server.forgetHistory();
const recovering: Promise<FakeConnection> = server.recover();
void recovering;
server.logIn({ userId: null });
server.goDown(CloseCode.RESTARTING);
server.comeBack();
connection?.accept({ role: "admin" });

const options: RealtimeOptions = {
  autoConnect: false,
  reconnect: true,
  maxReconnectAttempts: Infinity,
  reconnectDelay: backoffDelay(0, 1000, () => 0.5),
  url: "/api/ws",
  protocols: [BATCH_SUBPROTOCOL, SUBPROTOCOL],
  shared: false,
  persist: "all",
  debug: false,
  WebSocket: server.WebSocket,
};
const realtime: Realtime = createRealtime(options);

/** As the class of the package `ws`, which is no `EventTarget`. */
declare class NodeWebSocket {
  constructor(address: string | URL, protocols?: string | string[]);
  readonly readyState: 0 | 1 | 2 | 3;
  send(data: string | Uint8Array): void;
  close(code?: number, reason?: string): void;
  addEventListener<T extends "open" | "message" | "close" | "error">(
    type: T,
    listener: (event: { target: NodeWebSocket; type: T }) => void,
  ): void;
}
const ofNode: WebSocketClass = NodeWebSocket;
createRealtime({ url: "wss://site.test/api/ws", WebSocket: ofNode });
createRealtime();

const store: Store<RealtimeState> = realtime.store;
const off: () => void = store.subscribe(() => {});
const { status, connected, connectionId, userId, role, closeCode } = store.getSnapshot();
same<typeof status, Status>(true);
same<typeof connected, boolean>(true);
same<typeof connectionId, string | null>(true);
same<typeof userId, UserId | null>(true);
same<typeof role, string | null>(true);
same<typeof closeCode, number | null>(true);
off();

const offs: (() => void)[] = [
  realtime.on<"notification">("notification", ({ payload }) => same<typeof payload, NotificationPayload>(true)),
  realtime.on("notification", ({ payload }) => same<typeof payload.title, string>(true)),
  realtime.on("message", ({ payload, room }) => {
    same<typeof payload, MessagePayload>(true);
    same<typeof room, string | undefined>(true);
  }),
  realtime.on("export", ({ payload }) => same<typeof payload.rows, number>(true)),
  realtime.once("connected", ({ payload }) => same<typeof payload, ConnectedPayload>(true)),
  realtime.on("subscribed", ({ payload }) => same<typeof payload, RoomPayload>(true)),
  realtime.on("unsubscribed", ({ payload }) => same<typeof payload.reason, string | undefined>(true)),
  realtime.on("error", ({ payload }: Envelope<ErrorPayload>) => payload.retryAfter?.toFixed()),
  realtime.on("not declared", ({ payload }) => same<typeof payload, unknown>(true)),
  realtime.on("*", ({ type }) => type.toUpperCase()),
  realtime.on(":open", (payload) => payload.heartbeatInterval.toFixed()),
  realtime.on(":open", ({ recovered }) => same<typeof recovered, boolean | undefined>(true)),
  realtime.on(":gap", (detail) => same<typeof detail, GapDetail>(true)),
  realtime.on(":gap", ({ room, to }) => (room ?? to).toUpperCase()),
  realtime.on("ack", ({ payload }) => same<typeof payload, AckPayload>(true)),
  realtime.on(":close", (detail) => same<typeof detail, CloseDetail>(true)),
  realtime.on(":status", (detail) => same<typeof detail, StatusDetail>(true)),
];
for (const each of offs) each();

same<EventOf<"export">, Envelope<RealtimeMessages["export"]>>(true);
same<EventOf<":close">, RealtimeEvents[":close"]>(true);
const name: EventName = "anything";

async function use(): Promise<void> {
  realtime.connect();
  const left: Envelope<UnsubscribedPayload> = await realtime.unsubscribe("a");
  const subscription: Subscription = realtime.subscribe("a");
  const joined: Envelope<RoomPayload> & Leave = await subscription;
  const place: SubscribeOptions = { since: (await subscription).cursor, last: 50 };
  const again: Joined = await realtime.subscribe("a", place);
  const { room, cursor, recovered } = again;
  same<[typeof room, typeof cursor, typeof recovered], [string, string | undefined, boolean | undefined]>(true);
  await joined.leave();
  same<Awaited<ReturnType<typeof subscription.leave>>, Envelope<UnsubscribedPayload>>(true);
  const { payload } = await realtime.sendToRoom("a", { text: "hi" });
  same<typeof payload.content, { text: string }>(true);
  const milliseconds: number = await realtime.ping();
  await realtime.send({ type: MessageType.PING });
  await realtime.sendMessage("mine", { left, joined, milliseconds, name });
  const rooms: string[] = realtime.rooms;
  realtime.disconnect();
  try {
    await realtime.subscribe(rooms[0] ?? "b");
  } catch (error) {
    if (!(error instanceof RealtimeError)) throw error;
    if (error.code === LocalErrorCode.NOT_CONNECTED) return;
    if (error.code === ErrorCode.RATE_LIMITED) console.log(error.retryAfter, error.room, error.envelope?.id);
  }
  if (mayReconnect(CloseCode.OVERLOADED)) console.log(MAX_QUEUED);
}
void use();

async function call(pk: number, room: string, type: string): Promise<void> {
  const receipt = await realtime.call("bid", { amount: "12.50" }, { room: `auction:${pk}`, timeout: 5_000 });
  same<typeof receipt, { pk: number }>(true);
  const touched = await realtime.call("touch", undefined, { room: "support" });
  same<typeof touched, number>(true);
  const cleared = await realtime.call("clear");
  same<typeof cleared, null>(true);
  await realtime.call("clear", undefined, { timeout: 1 });
  await realtime.call("filter", null);
  await realtime.call("filter");
  const left: PayloadArgument<"filter"> = [];
  await realtime.call("filter", ...left);
  await realtime.call("anything");
  const undeclared = await realtime.call("undeclared", { by: room }, { room });
  same<typeof undeclared, unknown>(true);
  const computed = await realtime.call(type);
  same<typeof computed, unknown>(true);
  const options: CallOptions<"bid"> = { room: "auction:1" };
  const rest: CallArguments<"bid"> = [{ amount: "1" }, options];
  await realtime.call("bid", ...rest);
  try {
    await realtime.call("clear");
  } catch (error) {
    if (error instanceof RealtimeError) same<[typeof error.data, typeof error.path], [unknown, string | null]>(true);
  }
}
void call(1, "a", "b");
same<CommandPayload<"bid">, RealtimeCommands["bid"]["payload"]>(true);
same<CommandPayload<"clear">, undefined>(true);
same<CommandResult<"undeclared">, unknown>(true);
same<CommandRoom<"bid">, `auction:${number}`>(true);
same<CommandRoom<"clear">, undefined>(true);
const command: CommandName = "anything";
const place: RoomName = `auction:${command.length}`;

async function send(pk: number, room: string, content: { x: number }): Promise<void> {
  const text = await realtime.sendToRoom("support", { text: "hi" });
  same<typeof text.payload.content, RealtimeRooms["support"]["content"]>(true);
  const price = await realtime.sendToRoom(`auction:${pk}`, "12.50");
  same<typeof price.payload.content, string>(true);
  await realtime.sendToRoom("project:new", 1);
  await realtime.sendToRoom("project:old", true);
  const free = await realtime.sendToRoom(room, content);
  same<typeof free.payload.content, { x: number }>(true);
  const explicit = await realtime.sendToRoom<{ x: number }>(place, content);
  same<typeof explicit.payload.content, { x: number }>(true);
  const nothing = await realtime.sendToRoom(room, content, { volatile: true });
  same<typeof nothing, void>(true);
  await realtime.sendToRoom(room, content, { volatile: false });
  const options: SendOptions = { volatile: pk > 1 };
  const perhaps = await realtime.sendToRoom("auction:1", "1", options);
  same<typeof perhaps, Envelope<MessagePayload<string>> | void>(true);
}
void send(1, "a", { x: 1 });
same<RoomContent<"project:new">, number>(true);
same<RoomContent<"project:old">, boolean>(true);
same<RoomContent<"undeclared">, unknown>(true);
same<RoomContent<string>, unknown>(true);

async function show(pk: number, room: string): Promise<void> {
  const presence: Presence<"support"> = realtime.presence("support");
  same<typeof presence.room, "support">(true);
  const { members, total, me }: PresenceSnapshot<"support"> = presence.store.getSnapshot();
  same<[typeof members, typeof total], [readonly PresenceMember<"support">[], number]>(true);
  same<typeof me, PresenceMember<"support"> | null>(true);
  const { key, userId, info, since, connections, state } = presence.members[0]!;
  same<[typeof key, typeof since, typeof connections], [string, number, number]>(true);
  same<typeof userId, UserId | null>(true);
  same<typeof info, RealtimePresence["support"]["info"]>(true);
  same<typeof state, { typing: true } | null>(true);
  const options: SetStateOptions = { ttl: 5 };
  same<Awaited<ReturnType<typeof presence.setState>>, void>(true);
  await presence.setState({ typing: true }, options);
  await presence.setState(null);
  const off: () => void = presence.on("join", (member) => same<typeof member, PresenceMember<"support">>(true));
  off();
  presence.on("leave", ({ info }) => info.photo?.trim());
  presence.on("change", (now) => same<typeof now, PresenceEvents<"support">["change"]>(true));
  presence.store.subscribe(() => {})();
  const auction = realtime.presence(`auction:${pk}`);
  same<(typeof auction.members)[0]["info"], { company: string }>(true);
  await auction.setState({ any: 1 });
  const free: Presence = realtime.presence(room);
  const name: string | undefined = free.me?.info.name;
  await free.setState({ name, at: [1, 2] });
  interface Cursor {
    x: number;
  }
  const cursor: Cursor = { x: 1 };
  await free.setState(cursor);
}
void show(1, "a");
same<PresenceInfo<"support">, { name: string; photo?: string }>(true);
same<PresenceState<"support">, { typing: true }>(true);
same<PresenceState<"auction:1">, PresenceState<"undeclared">>(true);
realtime.on("subscribed", ({ payload }) => same<typeof payload.presence, PresencePicture | undefined>(true));
realtime.on("presence", ({ payload }) => same<typeof payload, PresencePayload>(true));
realtime.on("presence", ({ payload }) => same<typeof payload.joined, PresentMember[] | undefined>(true));

createApp({}).provide(realtimeKey, realtime);
const provided = (): Realtime | undefined => inject(realtimeKey);
provided();

async function setup(): Promise<RealtimeRefs> {
  const socket: RealtimeInComponent = useWebSocket({ autoConnect: true });
  same<typeof socket.connected, Readonly<Ref<boolean>>>(true);
  same<typeof socket.connectionId.value, string | null>(true);
  same<typeof socket.userId.value, UserId | null>(true);
  same<typeof socket.role.value, string | null>(true);
  same<typeof socket.status.value, Status>(true);
  same<typeof socket.closeCode.value, number | null>(true);
  same<typeof socket.recovered, Readonly<Ref<boolean | undefined>>>(true);
  const off: () => void = socket.on("export", ({ payload }) => same<typeof payload.rows, number>(true));
  off();
  socket.once("notification", ({ payload }) => same<typeof payload, NotificationPayload>(true));
  const { payload } = await socket.sendToRoom("a", { text: "hi" });
  same<typeof payload.content, { text: string }>(true);
  same<Awaited<ReturnType<typeof socket.ping>>, number>(true);
  const { connect, disconnect, send, sendMessage, subscribe, unsubscribe } = useWebSocket();
  connect();
  await subscribe("a", { last: 50 }).leave();
  await send({ type: "ping" });
  await sendMessage("mine", 1);
  await unsubscribe("a");
  disconnect();
  return socket;
}
void setup();

async function useCommands(pk: number): Promise<void> {
  const { call, pending, error, result } = useCommand("bid", { room: () => `auction:${pk}` as const, timeout: 5_000 });
  const receipt = await call({ amount: "12.50" });
  same<typeof receipt, { pk: number }>(true);
  same<typeof pending, Readonly<Ref<boolean>>>(true);
  same<typeof error.value, RealtimeError | null>(true);
  same<typeof result.value, { pk: number } | undefined>(true);
  console.log(error.value?.data, error.value?.path);
  useCommand("bid", { room: ref<`auction:${number}`>("auction:1") });
  useCommand("bid", { room: `auction:${pk}` });
  void useCommand("filter").call();
  const clear: CommandInComponent<"clear"> = useCommand("clear");
  await clear.call();
  const options: UseCommandOptions<"touch"> = { room: "support" };
  const touched: number = await useCommand("touch", options).call();
  const room = ref<string>();
  const undeclared = await useCommand("undeclared", { room }).call({ any: touched });
  same<typeof undeclared, unknown>(true);
  await useWebSocket().call("bid", { amount: "1" }, { room: "auction:1" });
}
void useCommands(1);

async function useMembers(pk: number): Promise<void> {
  const room = ref<"support" | null>(null);
  const found: PresenceInComponent<"support"> = usePresence(room);
  const { members, total, me, error, setState, on } = found;
  same<typeof members.value, readonly PresenceMember<"support">[]>(true);
  same<typeof total, Readonly<Ref<number>>>(true);
  same<typeof me.value, PresenceMember<"support"> | null>(true);
  same<typeof error.value, RealtimeError | null>(true);
  await setState({ typing: true }, { ttl: 5 });
  on("join", ({ info }) => info.name.trim())();
  const auction = usePresence(() => `auction:${pk}` as const);
  same<(typeof auction.members.value)[0]["info"], { company: string }>(true);
  await usePresence("undeclared").setState(null);
}
void useMembers(1);
