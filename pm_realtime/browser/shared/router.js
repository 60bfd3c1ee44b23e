import { ErrorCode, MessageType } from "../constants.js";
import { newId } from "../core/envelope.js";

/** How long the server's `subscribed` also answers other tabs that ask for the room. */
const FRESH_MS = 5_000;

/**
 * Keeps the requests of each tab on one real socket, and so decides which tabs get which frame.
 *
 * It is pure: every method returns a list of effects. Each is `{ send: envelope }`, for the server,
 * or `{ to, envelope }`, for the tabs in that array, or for all tabs if `to` is null.
 */
export function createRouter(now = Date.now) {
  // By name, the rooms that this connection is in or asks for.
  const rooms = new Map();
  // By the id of a `subscribe` that was sent, the room and its name.
  const asking = new Map();
  // By the id of a command, the tabs that wait for the reply, in order; null for our own commands.
  const pending = new Map();

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
    room.expected.delete(tab);
    if (room.asking) {
      room.asking.push([tab, envelope.id]);
      return [];
    }
    if (room.granted && now() - room.grantedAt < FRESH_MS) {
      return answer(tab, envelope, MessageType.SUBSCRIBED, room.granted);
    }
    room.asking = [[tab, envelope.id]];
    asking.set(envelope.id, { name, room });
    return [{ send: envelope }];
  }

  /** The server's reply answers all tabs that asked, each with the id of its own command. */
  function settleSubscribe({ name, room }, reply) {
    const waiting = room.asking;
    room.asking = null;
    asking.delete(reply.id);
    if (reply.type === MessageType.SUBSCRIBED) {
      room.granted = reply.payload;
      room.grantedAt = now();
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

  /** Says if no tab wants the room any more. */
  function leaveRoom(tab, name) {
    const room = rooms.get(name);
    room?.tabs.delete(tab);
    room?.expected.delete(tab);
    if (room?.tabs.size > 0 || room?.everyone) return false;
    // The next `subscribe` is sent to the server again, which has then left the room.
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

  /** A frame that came through a room, or answers a command for one. */
  function inRoom(name, asker, envelope) {
    const room = rooms.get(name);
    if (room?.everyone) return [{ to: null, envelope }];
    const to = new Set(room?.tabs);
    if (asker) to.add(asker);
    return to.size ? [{ to: [...to], envelope }] : [];
  }

  /** Server code put the connection into a room, or took it out; returns the tabs to tell. */
  function moved({ type, payload }) {
    const room = rooms.get(payload?.room);
    if (type === MessageType.UNSUBSCRIBED) {
      rooms.delete(payload?.room);
      return room && !room.everyone ? [...room.tabs] : null;
    }
    rooms.set(payload?.room, { ...(room ?? newRoom()), everyone: true, granted: payload });
    return null;
  }

  /** The tab leaves these rooms; the server is asked to leave those that no tab wants any more. */
  function leaveAll(tab, names) {
    const effects = [];
    for (const name of names) {
      const { tabs, asking: asked, granted } = rooms.get(name);
      if (!tabs.has(tab) || !leaveRoom(tab, name) || !(asked || granted)) continue;
      const id = newId();
      expect(null, id);
      const type = MessageType.UNSUBSCRIBE;
      effects.push({ send: { type, payload: { room: name }, timestamp: now(), id } });
    }
    return effects;
  }

  return {
    /** The tab was in these rooms on the last socket, and is about to ask for them again. */
    expectRooms(tab, names) {
      for (const name of names) {
        if (!rooms.has(name)) rooms.set(name, newRoom());
        const room = rooms.get(name);
        if (!room.tabs.has(tab)) room.expected.add(tab);
        room.tabs.add(tab);
      }
    },

    /** The tab has asked for all rooms that it wants. */
    settle(tab) {
      return leaveAll(tab, [...rooms.keys()].filter((name) => rooms.get(name).expected.has(tab)));
    },

    /** The tab sends a command. */
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

    /** The tab is gone. */
    leave: (tab) => leaveAll(tab, [...rooms.keys()]),
  };
}

/**
 * `tabs`: the tabs that are in the room or ask for it. `expected`: those of them that have yet to
 * ask. `asking`: the commands that wait for a reply. `granted`: the server's last answer, given at
 * `grantedAt`. `everyone`: server code put the connection into the room, so all tabs are in it.
 */
function newRoom() {
  const [tabs, expected] = [new Set(), new Set()];
  return { tabs, expected, asking: null, granted: null, grantedAt: 0, everyone: false };
}
