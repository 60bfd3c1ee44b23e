const DEFAULTS = { per: "user", max: 200, see: true, beSeen: true, grace: 10_000 };

// As on the real server.
const MAX_STATE_BYTES = 1024;
const MAX_TTL_SECONDS = 86_400;

/** Says if the server closes with the code when a session, a connection or a user is gone for good. */
const isForGood = (code) => code >= 4500 && code <= 4999 && code !== REPLACED;
const REPLACED = 4502;

/**
 * The members of rooms with presence. `connections` are those of the server, oldest first.
 * `profileOf(connection)` has its `userId` and `name`, its `id`, and the ids of its client's
 * `former` connections, newest first.
 */
export function createPresence(connections, profileOf) {
  const rooms = new Map();

  const viewersOf = (name) => connections.filter(({ open, rooms: joined }) => open && joined.has(name));

  function open(name, options = {}) {
    if (!rooms.has(name)) rooms.set(name, createRoom(name, () => viewersOf(name), profileOf));
    const room = rooms.get(name);
    Object.assign(room.settings, options);
    return room.handle;
  }

  /** Answers the command `presence`: a question, or the sender's own state. */
  function answer(connection, command) {
    const { room: name, state, ttl } = command.payload ?? {};
    const room = rooms.get(name);
    const refuse = (code, details) => connection.refuse(command, code, { room: name, ...details });
    if (!connection.rooms.has(name)) refuse("NOT_IN_ROOM");
    else if (!room) refuse("FORBIDDEN");
    else if (state === undefined) {
      connection.reply(command, "presence", { room: name, ...room.view(connection) });
    } else if (!isState(state)) refuse("INVALID_PAYLOAD", { path: "state" });
    else if (!isTtl(ttl)) refuse("INVALID_PAYLOAD", { path: "ttl" });
    else if (!room.hasMember(connection)) refuse("FORBIDDEN");
    else {
      if (command.id !== undefined) connection.reply(command, "ack", { room: name });
      room.setState(connection, state, ttl ?? null);
    }
  }

  return {
    open,

    answer,

    /** The part of the answer to a `subscribe`. */
    join(connection, name) {
      const room = rooms.get(name);
      if (!room) return {};
      room.enter(connection);
      return { presence: room.view(connection) };
    },

    /** The connection leaves the room at once. */
    leave: (connection, name) => rooms.get(name)?.exit(connection),

    /** The connection is closed. Unless it is for good, its member is there until the grace is over. */
    lose(connection, code) {
      for (const room of rooms.values()) {
        if (isForGood(code)) room.exit(connection);
        else room.lose(connection);
      }
    },
  };
}

function createRoom(name, viewers, profileOf) {
  const settings = { ...DEFAULTS };
  // By key, the members as they travel.
  const members = new Map();
  // By connection, the key of its member.
  const keys = new Map();
  const timers = new Map();
  let rev = 0;
  let visitors = 0;
  // What the connections were told last.
  let toldRev = 0;
  let isTold = true;

  const isWithin = () => settings.see && members.size <= settings.max;
  const byArrival = () => [...members.values()].sort(inOrder);
  const picture = () => ({ rev, total: members.size, ...(isWithin() && { members: byArrival() }) });

  /** Tells all connections in the room of a change, as the real server does. */
  function tell({ joined = [], updated = [], left = [] }) {
    rev = Math.max(rev + 1, Date.now() * 1000);
    const wasTold = isTold;
    isTold = isWithin();
    if (!isTold && joined.length + left.length === 0) return;
    let lists = { joined, updated, left };
    if (!isTold) lists = {};
    else if (!wasTold) lists = { members: byArrival() };
    const payload = { room: name, rev, prev: toldRev, total: members.size, ...lists };
    toldRev = rev;
    for (const connection of viewers()) connection.frame("presence", payload, { room: name });
  }

  // Anonymous visitors have nothing by which they would be the same member.
  const newKey = (userId) => (userId === null ? `visitor-${++visitors}` : String(userId));

  function stop(key) {
    clearTimeout(timers.get(key));
    timers.delete(key);
  }

  /** Counts the connection in or out. */
  function count(key, change, profile) {
    const known = members.get(key);
    const connections = (known?.connections ?? 0) + change;
    if (connections <= 0) {
      drop(key);
      return;
    }
    const member = { since: Date.now(), ...known, ...profile, key, connections };
    members.set(key, member);
    tell(known ? { updated: [member] } : { joined: [member] });
  }

  function drop(key) {
    stop(key);
    if (members.delete(key)) tell({ left: [key] });
  }

  function exit(connection) {
    const key = keys.get(connection);
    if (keys.delete(connection)) count(key, -1);
  }

  function change(key, changes) {
    const known = members.get(key);
    if (!known) return false;
    const { state, ...member } = { ...known, ...changes, key };
    if ("state" in changes) stop(key);
    const changed = { ...member, ...((state ?? null) !== null && { state }) };
    members.set(key, changed);
    tell({ updated: [changed] });
    return true;
  }

  const handle = {
    get members() {
      return byArrival();
    },

    get total() {
      return members.size;
    },

    join({ userId = null, key = newKey(userId), ...rest }) {
      if (change(key, { ...rest, userId })) return key;
      const member = { info: {}, since: Date.now(), connections: 1, ...rest, key, userId };
      members.set(key, member);
      tell({ joined: [member] });
      return key;
    },

    update(key, changes) {
      if (!change(String(key), changes)) throw new TypeError(`There is no member "${key}".`);
    },

    leave: (key) => drop(String(key)),
  };

  return {
    settings,
    handle,
    exit,

    enter(connection) {
      const { userId, name: userName, former, id } = profileOf(connection);
      if (keys.has(connection) || !settings.beSeen) return;
      if (settings.per === "user" && userId === null) return;
      const key = settings.per === "user" ? String(userId) : `client-${former.at(-1) ?? id}`;
      // Earlier ones may be open still, in the tab that this one is a copy of.
      const isLast = (each) => !each.open || profileOf(each).id === former[0];
      const lost = [...keys].find(([each, of]) => of === key && isLast(each));
      keys.set(connection, key);
      // The member is back: its lost connection does not count any more.
      if (lost) keys.delete(lost[0]);
      else count(key, 1, { userId, info: userId === null ? {} : { name: userName } });
    },

    lose: (connection) => void later(() => exit(connection), settings.grace),

    view(connection) {
      const me = keys.get(connection);
      return { ...picture(), ...(members.has(me) && { me }) };
    },

    hasMember: (connection) => members.has(keys.get(connection)),

    setState(connection, state, ttl) {
      const key = keys.get(connection);
      change(key, { state });
      if (ttl !== null) timers.set(key, later(() => change(key, { state: null }), ttl * 1000));
    },
  };
}

const inOrder = (one, other) => one.since - other.since || (one.key < other.key ? -1 : 1);

/** A timer that keeps no process alive. */
function later(callback, ms) {
  const timer = setTimeout(callback, ms);
  timer.unref?.();
  return timer;
}

function isState(state) {
  const isObject = state === null || (typeof state === "object" && !Array.isArray(state));
  return isObject && new TextEncoder().encode(JSON.stringify(state)).length <= MAX_STATE_BYTES;
}

const isTtl = (ttl) =>
  ttl === undefined || (typeof ttl === "number" && ttl > 0 && ttl <= MAX_TTL_SECONDS);
