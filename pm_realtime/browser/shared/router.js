import { ErrorCode, MessageType } from "../constants.js";

/** How long the server's `subscribed` also answers other tabs that ask for the room, in ms. */
export const FRESH_FOR = 5_000;

/**
 * What each tab has asked for on one real socket, and so who is to have what comes in on it.
 *
 * Pure: every method gives a list of what to do, each `{ send: envelope }` (to the server) or
 * `{ to, envelope }` (to the tabs of that array, or to all where `to` is null).
 */
export function createLedger(now = Date.now) {
  // By name, the rooms this connection is in or asks for.
  const rooms = new Map();
  // By the id of the one `subscribe` that went out: its room, and all commands it answers.
  const asking = new Map();
  // By command id, the tabs waiting for its reply, first come first served; null for our own.
  const pending = new Map();
  let count = 0;

  function expect(tab, id) {
    if (id === undefined) return;
    if (!pending.has(id)) pending.set(id, []);
    pending.get(id).push(tab);
  }

  function takeAsker(id) {
    const tabs = pending.get(id);
    const tab = tabs?.shift();
    if (tabs?.length === 0) pending.delete(id);
    return tab;
  }

  function forward(tab, envelope) {
    expect(tab, envelope.id);
    return [{ send: envelope }];
  }

  function answer(tab, { id }, type, payload) {
    return [{ to: [tab], envelope: { type, payload, timestamp: now(), id } }];
  }

  function subscribe(tab, envelope) {
    const name = envelope.payload.room;
    if (!rooms.has(name)) rooms.set(name, newRoom());
    const room = rooms.get(name);
    room.tabs.add(tab);
    room.awaited.delete(tab);
    if (room.asking) {
      room.asking.push([tab, envelope.id]);
      return [];
    }
    if (room.granted && now() - room.since < FRESH_FOR) {
      return answer(tab, envelope, MessageType.SUBSCRIBED, room.granted);
    }
    room.asking = [[tab, envelope.id]];
    asking.set(envelope.id, { name, room });
    return [{ send: envelope }];
  }

  /** The server's answer goes to all that asked, each with the id of its own command. */
  function settleSubscribe({ name, room }, reply) {
    const waiting = room.asking;
    room.asking = null;
    asking.delete(reply.id);
    if (reply.type === MessageType.SUBSCRIBED) {
      room.granted = reply.payload;
      room.since = now();
    } else if (!room.granted && rooms.get(name) === room) {
      rooms.delete(name);
    }
    return waiting.map(([tab, id]) => ({ to: [tab], envelope: { ...reply, id } }));
  }

  function unsubscribe(tab, envelope) {
    const { room } = envelope.payload;
    if (leaveRoom(tab, room)) return forward(tab, envelope);
    return answer(tab, envelope, MessageType.UNSUBSCRIBED, { room, success: true });
  }

  /** Whether nobody here wants the room any more. */
  function leaveRoom(tab, name) {
    const room = rooms.get(name);
    room?.tabs.delete(tab);
    room?.awaited.delete(tab);
    if (room?.tabs.size > 0 || room?.everyone) return false;
    // Who asks from now on asks anew: the server will have left it by then.
    rooms.delete(name);
    return true;
  }

  function message(tab, envelope) {
    const { room } = envelope.payload;
    const known = rooms.get(room);
    if (known && !known.everyone && !known.tabs.has(tab)) {
      const text = "Subscribe to the room before sending to it.";
      const payload = { code: ErrorCode.NOT_IN_ROOM, message: text, room };
      return answer(tab, envelope, MessageType.ERROR, payload);
    }
    return forward(tab, envelope);
  }

  const commands = new Map([
    [MessageType.SUBSCRIBE, subscribe],
    [MessageType.UNSUBSCRIBE, unsubscribe],
    [MessageType.MESSAGE, message],
  ]);

  /** What came through a room, or answers what went to one. */
  function inRoom(name, asker, envelope) {
    const room = rooms.get(name);
    if (room?.everyone) return [{ to: null, envelope }];
    const to = new Set(room?.tabs);
    if (asker) to.add(asker);
    return to.size ? [{ to: [...to], envelope }] : [];
  }

  /** Server code has put the connection into a room, or has taken it out of one. */
  function moved({ type, payload }) {
    const room = rooms.get(payload?.room);
    if (type === MessageType.UNSUBSCRIBED) {
      rooms.delete(payload?.room);
      return room && !room.everyone ? [...room.tabs] : null;
    }
    rooms.set(payload?.room, { ...(room ?? newRoom()), everyone: true, granted: payload });
    return null;
  }

  /** The server is asked to take the connection out of what nobody wants any more. */
  function leaveAll(tab, names) {
    const effects = [];
    for (const name of names) {
      const { tabs, asking: asked, granted } = rooms.get(name);
      if (!tabs.has(tab) || !leaveRoom(tab, name) || !(asked || granted)) continue;
      const id = `shared:${(count += 1)}`;
      expect(null, id);
      const type = MessageType.UNSUBSCRIBE;
      effects.push({ send: { type, payload: { room: name }, timestamp: now(), id } });
    }
    return effects;
  }

  return {
    /** A tab was in these rooms on the last socket, and is about to ask for them again. */
    await(tab, names) {
      for (const name of names) {
        if (!rooms.has(name)) rooms.set(name, newRoom());
        const room = rooms.get(name);
        if (!room.tabs.has(tab)) room.awaited.add(tab);
        room.tabs.add(tab);
      }
    },

    /** It has asked for all that it wants. */
    settle(tab) {
      return leaveAll(tab, [...rooms.keys()].filter((name) => rooms.get(name).awaited.has(tab)));
    },

    /** A tab sends a command. */
    command(tab, envelope) {
      const isOfRoom = typeof envelope.payload?.room === "string" && envelope.id !== undefined;
      const command = isOfRoom ? commands.get(envelope.type) : undefined;
      return (command ?? forward)(tab, envelope);
    },

    /** The server sends a frame. */
    frame(envelope) {
      const { type, id, room } = envelope;
      const isReply = type === MessageType.SUBSCRIBED || type === MessageType.ERROR;
      if (isReply && asking.has(id)) return settleSubscribe(asking.get(id), envelope);
      const asker = takeAsker(id);
      if (room !== undefined) return inRoom(room, asker, envelope);
      if (asker === null || (type === MessageType.PONG && !asker)) return [];
      if (asker) return [{ to: [asker], envelope }];
      const isMove = type === MessageType.SUBSCRIBED || type === MessageType.UNSUBSCRIBED;
      return [{ to: isMove ? moved(envelope) : null, envelope }];
    },

    /** A tab is gone. */
    leave: (tab) => leaveAll(tab, [...rooms.keys()]),
  };
}

/**
 * `tabs`: in it or asking; `awaited`: those of them that have yet to ask. `asking`: the commands
 * that wait for the answer on its way. `granted`: what the server last answered, at `since`.
 * `everyone`: it is server code's wish.
 */
function newRoom() {
  const [tabs, awaited] = [new Set(), new Set()];
  return { tabs, awaited, asking: null, granted: null, since: 0, everyone: false };
}
