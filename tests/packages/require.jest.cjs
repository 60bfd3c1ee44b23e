/** Jest as it comes, with `require`. */
const { createRealtime, RealtimeError } = require("@pm-realtime/client");
const { createFakeServer } = require("@pm-realtime/client/testing");

test("a client works with the fake server", async () => {
  const server = createFakeServer({ userId: 7 });
  const realtime = createRealtime({ url: "ws://test/", WebSocket: server.WebSocket });
  realtime.connect();
  await realtime.subscribe("a");
  const { payload } = await realtime.sendToRoom("a", "hello");
  expect(payload.content).toBe("hello");
  server.refuse("message", "FORBIDDEN");
  await expect(realtime.sendToRoom("a", 1)).rejects.toBeInstanceOf(RealtimeError);
  realtime.disconnect();
});

test("tabs share a socket, or have one of their own where there are no locks", async () => {
  const server = createFakeServer();
  const realtime = createRealtime({ url: "ws://test/", WebSocket: server.WebSocket, shared: "a" });
  const opened = new Promise((resolve) => realtime.on(":open", resolve));
  realtime.connect();
  expect((await opened).userId).toBe(1);
  realtime.disconnect();
});
