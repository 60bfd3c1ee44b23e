/**
 * Browser clients in one process of Node that follow the members of rooms.
 *
 * The argument is JSON: `{ url, clients: [{ name, cookie, rooms }] }`. A line of JSON on standard
 * input is a command, answered with one line.
 */
import { createInterface } from "node:readline";

import { createRealtime } from "../../../pm_realtime/static/pm_realtime/client.js";

class Client {
  events = [];

  constructor({ name, cookie, rooms, url }) {
    this.name = name;
    class Socket extends WebSocket {
      constructor(address, protocols) {
        super(address, { protocols, headers: { cookie } });
      }
    }
    this.realtime = createRealtime({
      url: `${url}?client=${name}`,
      WebSocket: Socket,
      maxReconnectAttempts: Infinity,
      reconnectDelay: 100,
    });
    this.presences = rooms.map((room) => [room, this.realtime.presence(room)]);
    for (const [room, presence] of this.presences) {
      for (const kind of ["join", "leave"]) {
        presence.on(kind, ({ key }) => this.events.push({ room, kind, key, at: Date.now() / 1e3 }));
      }
    }
    this.realtime.connect();
    this.joined = Promise.all(rooms.map((room) => this.realtime.subscribe(room)));
  }

  report() {
    const rooms = this.presences.map(([room, { members, total, me }]) => [
      room,
      { members, total, me },
    ]);
    return { name: this.name, events: this.events, rooms: Object.fromEntries(rooms) };
  }
}

const options = JSON.parse(process.argv[2]);
const clients = options.clients.map((each) => new Client({ ...each, url: options.url }));
const commands = {
  async join() {
    await Promise.all(clients.map(({ joined }) => joined));
  },
  report: () => clients.map((each) => each.report()),
};

for await (const line of createInterface({ input: process.stdin })) {
  const answer = (await commands[JSON.parse(line).do]()) ?? null;
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
