import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";

/** A WebSocket class whose server's end the test controls: `all` of them, and the `last`. */
export function fakeWebSocket(options = {}) {
  const server = createFakeServer({ automatic: false, userId: 7, role: "editor", ...options });
  return Object.defineProperties(server.WebSocket, {
    all: { get: () => server.connections },
    last: { get: () => server.last },
    server: { get: () => server },
  });
}

/** Lets the handlers of settled promises run. */
export async function settled() {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
}
