/**
 * Browser clients in one process of Node that call a command, each several in each of its rooms.
 *
 * The argument is JSON: `{ clients: [{ name, url, rooms }], calls, atOnce }`, with the number of
 * calls of each client in each room. Writes JSON: what differs from the promise of each call.
 */
import { createRealtime } from "../../pm_realtime/static/pm_realtime/client.js";

const { clients, calls, atOnce } = JSON.parse(process.argv[2]);
const faults = [];
let resolved = 0;
let connections = 0;

async function callAll(realtime, name, room) {
  let next = 0;
  let answered = 0;
  async function callNext() {
    while (next < calls) {
      const number = next++;
      try {
        const result = await realtime.call("step", { sender: name, number }, { room });
        if (result !== number * 2) faults.push(`${name} ${room} ${number}: got ${result}`);
        if (number !== answered) faults.push(`${name} ${room} ${number}: ${answered} is due`);
        resolved += 1;
      } catch (error) {
        faults.push(`${name} ${room} ${number}: ${error.code} ${error.message}`);
      }
      answered = number + 1;
    }
  }
  await Promise.all(Array.from({ length: atOnce }, callNext));
}

await Promise.all(
  clients.map(async ({ name, url, rooms }) => {
    const realtime = createRealtime({
      url,
      maxReconnectAttempts: Infinity,
      reconnectDelay: 100,
    });
    realtime.on(":open", () => (connections += 1));
    realtime.connect();
    await Promise.all(rooms.map((room) => realtime.subscribe(room)));
    await Promise.all(rooms.map((room) => callAll(realtime, name, room)));
    realtime.disconnect();
  }),
);
console.log(JSON.stringify({ resolved, connections, faults }));
process.exit(0);
