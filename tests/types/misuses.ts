/** Each line that ends with a code fails with it, and no other line fails. */
import { createRealtime } from "@pm-realtime/client";

const realtime = createRealtime();

// A payload is used as another type.
realtime.on("notification", ({ payload }) => payload.title.toFixed()); // TS2551
// A part of a payload is not declared.
realtime.on("notification", ({ payload }) => console.log(payload.titel)); // TS2551
// A payload of an undeclared type is used unchecked.
realtime.on("undeclared", ({ payload }) => console.log(payload.text)); // TS18046
// A handler expects another argument.
realtime.on("message", (text: string) => console.log(text)); // TS2345
// An option has the wrong type.
createRealtime({ maxReconnectAttempts: "5" }); // TS2322
// The state is read-only.
realtime.connected = true; // TS2540
// An envelope has no type.
realtime.send({ payload: 1 }); // TS2345
