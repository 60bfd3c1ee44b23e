import { ErrorCode, MessageType } from "../constants.js";
import { newId } from "../core/envelope.js";
import { applyPresence } from "../core/picture.js";
import { createQuestions } from "./questions.js";
import {
  answerFrom,
  grant,
  isOf,
  isPlain,
  isWanted,
  newRequest,
  newRoom,
  notInRoom,
  release,
  requestsOf,
  takeEarliest,
} from "./room.js";

/** How long the server's `subscribed` also answers other tabs that ask for the room. */
const FRESH_MS = 5_000;

/**
 * Keeps the requests of each tab on one real socket, and so decides which tabs get which frame.
 *
 * It is pure: every method returns a list of effects. Each is `{ send: envelope }`, for the server,
 * or `{ to, envelope }`, for the tabs in that array, or for all tabs if `to` is null, or
 * `{ later: name }`: after a while, `letGo(name)` leaves that room.
 *
 * The connection has one position in a room, and each tab its own. A tab that goes on from an
 * earlier one takes the connection back to it; the other tabs have had what then comes again.
 */
export function createRouter(now = Date.now) {
  // By name, the rooms that this connection is in or asks for.
  const rooms = new Map();
  // By the id of a `subscribe` that was sent, the name of the room, the room and the request.
  const asking = new Map();
  const questions = createQuestions();
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
    room.waiting.push(newRequest(tab, envelope));
    return askNext(name, room);
  }

  /** One request at a time: what the server answers may do for the others, too. */
  function askNext(name, room) {
    const effects = [];
    while (!room.asked && room.waiting.length > 0) {
      const request = takeEarliest(room.waiting);
      const { envelope } = request;
      const { payload } = envelope;
      const isFresh = room.granted && now() - room.grantedAt < FRESH_MS;
      const granted = isFresh ? answerFrom(room, payload) : null;
      if (granted) {
        const { SUBSCRIBED: type } = MessageType;
        effects.push(...enter(room, request, { type, payload: granted, timestamp: now() }));
        continue;
      }
      room.asked = request;
      asking.set(envelope.id, { name, room, request });
      // The server would take the connection forwards, too.
      const isAhead = room.position < payload.since;
      effects.push({ send: isAhead ? { ...envelope, payload: { ...payload, since: room.position } } : envelope });
    }
    return effects;
  }

  /** The server's reply to the request that was sent. */
  function settleSubscribe({ name, room, request }, reply) {
    asking.delete(reply.id);
    room.asked = null;
    if (reply.type !== MessageType.SUBSCRIBED) return refuse(name, room, request, reply);
    const { recovered, ...granted } = reply.payload;
    grant(room, granted, now());
    const wanted = request.envelope.payload;
    if (!isPlain(wanted) || room.position === undefined) moveTo(name, room, granted.cursor);
    const payload = answerFrom(room, wanted) ?? reply.payload;
    return [...enter(room, request, { ...reply, payload }), ...askNext(name, room)];
  }

  /** The tabs of the request are in the room from now on. */
  function enter(room, request, reply) {
    for (const tab of request.tabs) room.tabs.add(tab);
    return replyTo(request, reply);
  }

  /**
   * The connection goes on from `cursor`. If it was not so far yet, because it was still catching up,
   * the tabs that are in the room get nothing until it has gone back.
   */
  function moveTo(name, room, cursor) {
    const { position, tabs } = room;
    room.position = cursor;
    if (!(position < cursor) || tabs.size === 0) return;
    const payload = { room: name, since: position };
    const envelope = { type: MessageType.SUBSCRIBE, payload, timestamp: now(), id: newId() };
    room.waiting.unshift({ asker: null, tabs, envelope });
    room.tabs = new Set();
  }

  const replyTo = ({ asker, envelope: { id } }, reply) =>
    asker === null ? [] : [{ to: [asker], envelope: { ...reply, id } }];

  /** A room that the connection may not be in is refused to all tabs that ask for it. */
  function refuse(name, room, request, reply) {
    const isOfAll = !room.granted && reply.payload?.code !== ErrorCode.INVALID_PAYLOAD;
    const requests = [request, ...(isOfAll ? room.waiting.splice(0) : [])];
    const effects = requests.flatMap((each) =>
      each.asker === null ? loseBehind(name, room, each) : replyTo(each, reply),
    );
    effects.push(...askNext(name, room));
    if (!room.granted && !room.asked && rooms.get(name) === room) rooms.delete(name);
    return effects;
  }

  /** The connection cannot go back for these tabs, or is not in the room any more. */
  function loseBehind(name, room, { tabs }) {
    const [to, timestamp] = [[...tabs], now()];
    if (!room.granted) {
      const payload = { room: name, success: true, reason: "forbidden" };
      return [{ to, envelope: { type: MessageType.UNSUBSCRIBED, payload, timestamp } }];
    }
    for (const tab of tabs) room.tabs.add(tab);
    const { position: cursor } = room;
    return [{ to, envelope: { type: MessageType.GAP, payload: {}, timestamp, room: name, cursor } }];
  }

  function unsubscribe(tab, envelope) {
    const { room } = envelope.payload;
    if (leaveRoom(tab, room)) return forward(tab, envelope);
    return answer(tab, envelope, MessageType.UNSUBSCRIBED, { room, success: true });
  }

  /** Says if no tab wants the room any more. */
  function leaveRoom(tab, name) {
    const room = rooms.get(name);
    if (room) {
      release(tab, room);
      if (isWanted(room)) return false;
    }
    // The next `subscribe` is sent to the server again, which has then left the room.
    rooms.delete(name);
    return true;
  }

  /** The server is asked to leave a room that no tab is in. */
  function askToLeave(name) {
    rooms.delete(name);
    const id = newId();
    expect(null, id);
    return { send: { type: MessageType.UNSUBSCRIBE, payload: { room: name }, timestamp: now(), id } };
  }

  /** A command for those who are in the room. */
  function forMembers(tab, envelope) {
    const { room } = envelope.payload;
    if (isOutside(tab, room)) return answer(tab, envelope, MessageType.ERROR, notInRoom(room));
    const isQuestion = envelope.type === MessageType.PRESENCE && envelope.payload.state === undefined;
    return isQuestion ? questions.ask(tab, rooms.get(room), envelope) : forward(tab, envelope);
  }

  /** The members of a room have changed. It is told those, too, who wait for what came before. */
  function changed(envelope) {
    const room = rooms.get(envelope.payload?.room);
    if (!room) return [];
    if (room.picture) room.picture = applyPresence(room.picture, envelope.payload);
    if (room.everyone) return [{ to: null, envelope }];
    const behind = requestsOf(room).filter(({ asker }) => asker === null);
    const to = [room, ...behind].flatMap(({ tabs }) => [...tabs]);
    return to.length > 0 ? [{ to, envelope }] : [];
  }

  /** Says if the connection may be in the room, but the tab is not. */
  function isOutside(tab, name) {
    const room = rooms.get(name);
    return Boolean(room && !room.everyone && !isOf(room, tab));
  }

  const commands = new Map([
    [MessageType.SUBSCRIBE, subscribe],
    [MessageType.UNSUBSCRIBE, unsubscribe],
    [MessageType.MESSAGE, forMembers],
    [MessageType.PRESENCE, forMembers],
  ]);

  /** A frame that came through a room, or answers a command for one. */
  function inRoom(name, asker, envelope) {
    const room = rooms.get(name);
    if (room && envelope.cursor !== undefined) room.position = envelope.cursor;
    if (room?.everyone) return [{ to: null, envelope }];
    const to = new Set(room?.tabs);
    if (asker) to.add(asker);
    return to.size ? [{ to: [...to], envelope }] : [];
  }

  /** Server code put the connection into a room, or took it out; returns the tabs to tell. */
  function moved({ type, payload }) {
    const name = payload?.room;
    const room = rooms.get(name);
    if (type === MessageType.UNSUBSCRIBED) {
      const to = room && !room.everyone ? [...room.tabs] : null;
      const { asked, waiting } = room ?? {};
      // A request that is under way brings the connection back.
      if (asked) rooms.set(name, Object.assign(room, newRoom(), { asked, waiting }));
      else rooms.delete(name);
      return to;
    }
    const known = room ?? newRoom();
    rooms.set(name, Object.assign(known, { everyone: true }));
    grant(known, payload ?? {}, now());
    known.position ??= payload?.cursor;
    return null;
  }

  return {
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
      if (questions.has(id)) return questions.settle(envelope);
      if (type === MessageType.PRESENCE && id === undefined) return changed(envelope);
      const asker = takeAsker(id);
      if (type === MessageType.RESULT) return asker ? [{ to: [asker], envelope }] : [];
      if (room !== undefined) return inRoom(room, asker, envelope);
      if (asker === null || (type === MessageType.PONG && !asker)) return [];
      if (asker) return [{ to: [asker], envelope }];
      const isMove = type === MessageType.SUBSCRIBED || type === MessageType.UNSUBSCRIBED;
      return [{ to: isMove ? moved(envelope) : null, envelope }];
    },

    isOutside,

    /** The tabs that are in the room; null if all are. */
    tabsIn(name) {
      const room = rooms.get(name);
      return room?.everyone ? null : [...(room?.tabs ?? [])];
    },

    /**
     * The tab is gone. The server is asked to leave the rooms that no tab wants any more. It would
     * tell all others at once that a member has left, so that is done later: the page may come back.
     */
    leave(tab) {
      const effects = [];
      for (const [name, room] of [...rooms]) {
        if (!isOf(room, tab)) continue;
        const isKnown = room.asked || room.granted;
        release(tab, room);
        if (isWanted(room)) continue;
        if (room.picture !== undefined) effects.push({ later: name });
        else if (isKnown) effects.push(askToLeave(name));
        else rooms.delete(name);
      }
      return effects;
    },

    letGo(name) {
      const room = rooms.get(name);
      return room && !isWanted(room) ? [askToLeave(name)] : [];
    },
  };
}
