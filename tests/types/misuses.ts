/** Each line that ends with a code fails with it, and no other line fails. */
import { createRealtime } from "@pm-realtime/client";
import { createFakeServer } from "@pm-realtime/client/testing";
import { useCommand, usePresence } from "@pm-realtime/client/vue";

declare module "@pm-realtime/client" {
  interface RealtimeCommands {
    bid: { payload: { amount: string }; result: { pk: number }; room: `auction:${number}` };
    clear: { result: null };
  }
  interface RealtimeRooms {
    support: { content: { text: string } };
    "auction:<int:pk>": { room: `auction:${number}`; content: string };
  }
  interface RealtimePresence {
    support: { info: { name: string }; state: { typing: true } };
  }
}

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
// A payload has a part of the wrong type.
realtime.call("bid", { amount: 12.5 }, { room: "auction:7" }); // TS2322
// A part of a payload is not declared.
realtime.call("bid", { amount: "12.50", sum: 1 }, { room: "auction:7" }); // TS2353
// A room does not fit the route.
realtime.call("bid", { amount: "12.50" }, { room: "auction:seven" }); // TS2322
// A command of a room is called without one.
realtime.call("bid", { amount: "12.50" }); // TS2554
// A command takes no payload.
realtime.call("clear", 5); // TS2345
// A command is for no room.
realtime.call("clear", undefined, { room: "auction:7" }); // TS2322
// The result of an undeclared command is used unchecked.
realtime.call("undeclared").then((result) => result.pk); // TS18046
// A content is of another type.
realtime.sendToRoom("auction:7", 12.5); // TS2345
// A volatile message has no answer.
realtime.sendToRoom("support", { text: "hi" }, { volatile: true }).then((sent) => sent.id); // TS2339
// A state has a part of another type.
realtime.presence("support").setState({ typing: 1 }); // TS2322
// A state is no object.
realtime.presence("undeclared").setState("typing"); // TS2345
// A part of a member's info is not declared.
realtime.presence("support").on("join", ({ info }) => info.photo); // TS2339
// A member is read-only.
realtime.presence("support").members[0]!.state = null; // TS2540
// Presence has no such event.
realtime.presence("support").on("joined", () => {}); // TS2345
// A handler of the fake server returns another type.
createFakeServer().handle("bid", () => ({ pk: "1" })); // TS2322
// A handler of the fake server uses a part that the payload has not.
createFakeServer().handle("bid", ({ sum }) => ({ pk: sum })); // TS2339
// A command of a room is used without one.
useCommand("bid"); // TS2554
// A getter returns a room that does not fit the route.
useCommand("bid", { room: () => "support" }); // TS2322
// A composable's call has a payload of the wrong type.
useCommand("bid", { room: "auction:7" }).call({ amount: 12.5 }); // TS2322
// A result may be missing.
useCommand("bid", { room: "auction:7" }).result.value.pk.toFixed(); // TS2532
// A test's member has a part of another type.
createFakeServer().presence("support").join({ info: { name: 5 } }); // TS2322
// A composable's state has a part of another type.
usePresence("support").setState({ typing: 1 }); // TS2322
// A composable's members are read-only.
usePresence("support").total.value = 1; // TS2540
