/**
 * Browser clients in one process of Node, and what their handlers see.
 *
 * The argument is JSON: `{ url, clients: [{ name, cookie, rooms, sendsTo? }] }`. A line of JSON on
 * standard input is a command, answered with one line.
 */
import { createInterface } from "node:readline";

import { createRealtime } from "../../../pm_realtime/static/pm_realtime/client.js";

const MAX_UNANSWERED = 4;
const MAX_FAULTS = 20;

/** What a client's handlers saw of one stream. */
class Stream {
  count = 0;
  replayed = 0;
  /** The next number of each sender, and the numbers that were left out. */
  next = {};
  missing = {};
  faults = [];
  gaps = 0;
  /** The order of all messages, as a number. */
  order = 0;
  cursor = "";

  take({ cursor = "", replayed = false }, from, n) {
    const expected = this.next[from] ?? 0;
    this.count += 1;
    this.replayed += replayed;
    if (n < expected) this.fault({ from, n, expected, cursor, replayed });
    for (let left = expected; left < n; left += 1) (this.missing[from] ??= []).push(left);
    this.next[from] = Math.max(expected, n + 1);
    for (const byte of `${from} ${n}`) {
      this.order = Math.imul(this.order ^ byte.codePointAt(0), 16777619) >>> 0;
    }
    if (cursor && cursor <= this.cursor) this.fault({ from, n, cursor, after: this.cursor });
    this.cursor = cursor;
  }

  fault(details) {
    if (this.faults.length < MAX_FAULTS) this.faults.push({ ...details, at: Date.now() });
  }
}

class Client {
  streams = {};
  closes = {};
  opens = 0;
  recovered = { true: 0, false: 0 };
  connections = [];
  /** Sent so far, and the outcomes of the promises. */
  sent = 0;
  resolved = 0;
  rejected = {};
  unanswered = 0;

  constructor({ name, cookie, rooms, sendsTo, url }) {
    this.name = name;
    this.sendsTo = sendsTo;
    const headers = cookie ? { cookie } : {};
    class Socket extends WebSocket {
      constructor(address, protocols) {
        super(address, { protocols, headers });
      }
    }
    this.realtime = createRealtime({
      url: `${url}?client=${name}`,
      WebSocket: Socket,
      maxReconnectAttempts: Infinity,
      reconnectDelay: 300,
    });
    this.realtime.on("numbered", (envelope) => {
      this.stream(envelope).take(envelope, envelope.payload.from, envelope.payload.n);
    });
    this.realtime.on("message", (envelope) => {
      const { from, n } = envelope.payload.content;
      this.stream(envelope).take(envelope, from, n);
    });
    this.realtime.on(":gap", (detail) => {
      this.stream(detail).gaps += 1;
    });
    this.realtime.on(":open", ({ recovered, connectionId }) => {
      this.opens += 1;
      this.connections.push(connectionId);
      if (recovered !== undefined) this.recovered[recovered] += 1;
    });
    this.realtime.on(":close", ({ code }) => {
      this.closes[code] = (this.closes[code] ?? 0) + 1;
    });
    this.realtime.connect();
    this.joined = Promise.all(rooms.map((room) => this.realtime.subscribe(room)));
  }

  stream({ room, to }) {
    return (this.streams[room ?? to] ??= new Stream());
  }

  send() {
    if (!this.sendsTo || this.unanswered >= MAX_UNANSWERED) return;
    const n = this.sent;
    this.sent += 1;
    this.unanswered += 1;
    this.realtime
      .sendToRoom(this.sendsTo, { from: this.name, n })
      .then(
        () => {
          this.resolved += 1;
        },
        ({ code, message }) => {
          this.rejected[n] = code ?? message;
        },
      )
      .finally(() => {
        this.unanswered -= 1;
      });
  }

  report() {
    const { name, streams, closes, opens, recovered, sent, resolved, rejected, unanswered } = this;
    const { status } = this.realtime;
    return {
      name,
      status,
      streams,
      closes,
      opens,
      recovered,
      sent,
      resolved,
      rejected,
      unanswered,
      connections: this.connections,
    };
  }
}

const options = JSON.parse(process.argv[2]);
const clients = options.clients.map((each) => new Client({ ...each, url: options.url }));
let sending = null;

const commands = {
  async join() {
    await Promise.all(clients.map(({ joined }) => joined));
  },
  send({ perSecond }) {
    clearInterval(sending);
    if (perSecond) sending = setInterval(() => clients.forEach((each) => each.send()), 1e3 / perSecond);
  },
  /** Messages so far of all clients, and those without an answer. */
  progress() {
    let count = 0;
    let unanswered = 0;
    for (const client of clients) {
      unanswered += client.unanswered;
      for (const stream of Object.values(client.streams)) count += stream.count;
    }
    return { count, unanswered };
  },
  report: () => clients.map((each) => each.report()),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const answer = (await commands[command.do](command)) ?? null;
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
