/**
 * A page in Node: the browser client, and what its handlers saw.
 *
 * The argument is JSON: `{ url, cookie }`. Each line of standard input is JSON, the body of an async
 * function with the argument `page`. It is answered with a line: its result, or `{ error }`.
 */
import { createInterface } from "node:readline";

import { createRealtime } from "../../pm_realtime/static/pm_realtime/client.js";

const { url, cookie } = JSON.parse(process.argv[2]);

class Socket extends WebSocket {
  constructor(address, protocols) {
    super(address, { protocols, headers: cookie ? { cookie } : {} });
  }
}

const options = { url, WebSocket: Socket, reconnectDelay: 50, maxReconnectAttempts: Infinity };
const realtime = createRealtime(options);
const page = {
  realtime,
  opens: [],
  gaps: [],

  /** A part of the page: the payloads of a type that it gets from now on. */
  listen(type, room) {
    const seen = [];
    realtime.on(type, (envelope) => {
      if (envelope.room === room) seen.push(envelope.payload);
    });
    return seen;
  },

  async until(condition) {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  },
};
realtime.on(":open", ({ recovered }) => page.opens.push(recovered ?? null));
realtime.on(":gap", (detail) => page.gaps.push(detail));

const AsyncFunction = (async () => {}).constructor;
for await (const line of createInterface({ input: process.stdin })) {
  new AsyncFunction("page", JSON.parse(line))(page).then(
    (result) => console.log(JSON.stringify(result ?? null)),
    (error) => console.log(JSON.stringify({ error: `${error.code ?? ""} ${error.message}` })),
  );
}
