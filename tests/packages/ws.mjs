/** The package `ws` where nobody listens on its `error` events. */
import { createRealtime } from "@pm-realtime/client";
import WebSocket from "ws";

process.on("unhandledRejection", (error) => console.log(`unhandled: ${error}`));
const client = (options) => createRealtime({ url: "ws://127.0.0.1:9/", WebSocket, ...options });
const refused = client({ maxReconnectAttempts: 0 });
const closed = new Promise((resolve) => refused.on(":close", resolve));
refused.connect();
console.log(`refused: ${(await closed).code}`);
const early = client();
early.connect();
early.disconnect();
const circular = {};
circular.self = circular;
refused.sendToRoom("a", circular);
await new Promise((resolve) => setTimeout(resolve, 100));
console.log("alive");
