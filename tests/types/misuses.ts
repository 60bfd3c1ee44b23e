/** Each line with a code at its end fails with that code, and no other line fails. */
import { createRealtime } from "@pm-realtime/client";

const realtime = createRealtime();

// What came in is of another type than its use.
realtime.on("notification", ({ payload }) => payload.title.toFixed()); // TS2551
// A part of it that nobody declared.
realtime.on("notification", ({ payload }) => console.log(payload.titel)); // TS2551
// A type that nobody declared is used without a look.
realtime.on("undeclared", ({ payload }) => console.log(payload.text)); // TS18046
// A handler that expects something else than comes.
realtime.on("message", (text: string) => console.log(text)); // TS2345
// An option of the wrong type.
createRealtime({ maxReconnectAttempts: "5" }); // TS2322
// State that is only for reading.
realtime.connected = true; // TS2540
// An envelope without a type.
realtime.send({ payload: 1 }); // TS2345
