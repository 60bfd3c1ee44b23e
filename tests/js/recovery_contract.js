/**
 * The contract of recovery, on the wire. Each scenario runs with a server: `url`,
 * `WebSocket`, and `push(target, n)`, which pushes `{ n }` to `{ room }` or `{ to: "user" }`.
 */
import assert from "node:assert/strict";

/** A push may come a little later than the answer to a ping. */
const MAX_PINGS = 500;

/** A connection that keeps all frames. It is ready when the server has answered a ping. */
async function open({ url, WebSocket }, query = {}) {
  const given = Object.entries(query).map(([name, value]) => {
    return `${name}=${encodeURIComponent(typeof value === "string" ? value : JSON.stringify(value))}`;
  });
  const socket = new WebSocket(`${url}?${given.join("&")}`, ["pm-realtime.v1"]);
  const frames = [];
  const awaiting = new Map();
  const answered = (id) => new Promise((resolve) => awaiting.set(id, resolve));
  socket.addEventListener("message", ({ data }) => {
    const envelope = JSON.parse(data);
    frames.push(envelope);
    awaiting.get(envelope.type === "connected" ? "connected" : envelope.id)?.(envelope);
  });
  const heard = () =>
    frames.flatMap(({ type, payload, replayed }) => {
      if (type === "gap") return ["gap"];
      return type === "pushed" ? [replayed ? [payload.n] : payload.n] : [];
    });
  let count = 0;
  const connection = {
    frames,
    heard,
    close: () => socket.close(),
    say(type, payload, id = `${type}-${(count += 1)}`) {
      socket.send(JSON.stringify({ type, payload, id, timestamp: Date.now() }));
      return answered(id);
    },
    /** Payloads and signs of the frames, without replies, are `expected`, soon at least. */
    async hears(...expected) {
      for (let left = MAX_PINGS; heard().length < expected.length && left > 0; left -= 1) {
        await connection.say("ping");
      }
      await connection.say("ping");
      assert.deepEqual(heard(), expected);
    },
  };
  connection.first = await answered("connected");
  return connection;
}

const since = ({ first }) => first.payload.cursors;
const cursors = ({ frames }) => frames.filter(({ cursor }) => cursor).map(({ cursor }) => cursor);
let rooms = 0;
const newRoom = () => `contract:${(rooms += 1)}`;

export const scenarios = {
  async "a connection gets what its user missed, also if nothing had come before"(server) {
    const first = await open(server);
    first.close();
    for (const n of [1, 2]) await server.push({ to: "user" }, n);
    const next = await open(server, { since: since(first) });
    assert.equal(next.first.payload.recovered, true);
    assert.deepEqual(since(next), since(first));
    await server.push({ to: "user" }, 3);
    await next.hears([1], [2], 3);
    const [earliest, , latest] = cursors(next);
    next.close();
    assert.ok(since(first).user < earliest && earliest < latest);
    const last = await open(server, { since: { user: earliest } });
    await last.hears([2], [3]);
    last.close();
  },

  async "without `since` nothing is replayed"(server) {
    await server.push({ to: "user" }, 1);
    const connection = await open(server);
    assert.equal("recovered" in connection.first.payload, false);
    await connection.hears();
    connection.close();
  },

  async "a position before all that is kept is a gap"(server) {
    await server.push({ to: "user" }, 1);
    const connection = await open(server, { since: { user: "0000000000001-000000" } });
    assert.equal(connection.first.payload.recovered, false);
    await connection.say("ping");
    assert.equal(connection.heard()[0], "gap");
    assert.deepEqual(connection.heard().at(-1), [1]);
    const gaps = connection.frames.filter(({ type }) => type === "gap");
    assert.deepEqual(gaps.map(({ to, cursor }) => [to, cursor]), [["user", since(connection).user]]);
    connection.close();
  },

  async "positions of another user, and what are none, recover nothing"(server) {
    const first = await open(server);
    await server.push({ to: "user" }, 1);
    first.close();
    const other = await open(server, { since: since(first), user: "somebody else" });
    assert.equal(other.first.payload.recovered, false);
    await other.hears();
    other.close();
    for (const malformed of ["{", "[]", { user: 1 }, { user: "x" }]) {
      const connection = await open(server, { since: malformed });
      assert.equal(connection.first.payload.recovered, false, JSON.stringify(malformed));
      connection.close();
    }
  },

  async "a room goes on where its client stopped"(server) {
    const room = newRoom();
    const first = await open(server);
    const joined = await first.say("subscribe", { room });
    assert.equal("recovered" in joined.payload, false);
    first.close();
    for (const n of [1, 2]) await server.push({ room }, n);
    const next = await open(server);
    const again = await next.say("subscribe", { room, since: joined.payload.cursor });
    assert.deepEqual([again.payload.recovered, again.payload.cursor], [true, joined.payload.cursor]);
    await server.push({ room }, 3);
    await next.hears([1], [2], 3);
    next.close();
  },

  async "`last` gives the last messages, and counts where `since` is not whole"(server) {
    const room = newRoom();
    for (const n of [1, 2, 3]) await server.push({ room }, n);
    const [one, two, three] = [await open(server), await open(server), await open(server)];
    const joined = await one.say("subscribe", { room, last: 2 });
    assert.equal("recovered" in joined.payload, false);
    await one.hears([2], [3]);
    await two.say("subscribe", { room, last: 100 });
    await two.hears([1], [2], [3]);
    const old = await three.say("subscribe", { room, last: 1, since: "0000000000001-000000" });
    assert.equal(old.payload.recovered, false);
    await three.hears("gap", [3]);
    const known = await three.say("subscribe", { room, last: 1, since: joined.payload.cursor });
    assert.equal(known.payload.recovered, true);
    await three.hears("gap", [3], [2], [3]);
    for (const connection of [one, two, three]) connection.close();
  },

  async "`since` and `last` have to be a text and a count"(server) {
    const connection = await open(server);
    const wrong = [{ since: 1 }, { since: "x".repeat(41) }, { last: -1 }, { last: true }, { last: 1.5 }];
    for (const position of wrong) {
      const { payload } = await connection.say("subscribe", { room: newRoom(), ...position });
      assert.equal(payload.code, "INVALID_PAYLOAD", JSON.stringify(position));
    }
    const { payload } = await connection.say("subscribe", { room: newRoom(), since: "x" });
    assert.equal(payload.recovered, false);
    connection.close();
  },

  async "a message that comes again under its id is carried out once"(server) {
    const room = newRoom();
    const connection = await open(server);
    await connection.say("subscribe", { room });
    const first = await connection.say("message", { room, content: "a" }, "m");
    assert.equal(first.type, "message");
    const again = await connection.say("message", { room, content: "a" }, "m");
    assert.deepEqual([again.type, again.payload], ["ack", { duplicate: true }]);
    const other = await connection.say("message", { room, content: "b" }, "m");
    assert.equal(other.type, "message");
    await connection.say("ping");
    assert.equal(connection.frames.filter(({ type }) => type === "message").length, 2);
    connection.close();
  },
};
