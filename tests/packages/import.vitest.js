import { createRealtime } from "@pm-realtime/client";
import { createFakeServer } from "@pm-realtime/client/testing";
import { expect, test } from "vitest";

test("a client works with the fake server", async () => {
  const server = createFakeServer().install();
  const realtime = createRealtime({ url: "ws://test/", autoConnect: true });
  expect((await realtime.subscribe("a")).payload.room).toBe("a");
  realtime.disconnect();
  server.uninstall();
});
