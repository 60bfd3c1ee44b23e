import { TEMPORARY_ERRORS } from "../constants.js";
import { retryDelay } from "./backoff.js";
import { createEvents } from "./events.js";
import { applyPresence, createPicture } from "./picture.js";
import { createStateWriter } from "./presence_state.js";
import { addState, createStore } from "./store.js";

const NOBODY = Object.freeze([]);

/**
 * Who is in the rooms of the page. `ask(payload, { resolve, reject })` asks the server for a picture,
 * and `write(payload, { resolve, reject })` sends it a state; each calls one of the two before the
 * frame after the reply is handled. `isComing(room)` says if the room is wanted and a connection is
 * expected.
 *
 * A record has: `picture`, null if there is none; `list`, its members; `asking`, the question that is
 * not answered yet, with the `timer` of its next attempt; `failures` of it in a row; `isUsed`, if the
 * page has the object.
 */
export function createPresences({ ask, write, isWanted, isComing }) {
  const records = new Map();
  // The rooms of this connection.
  const here = new Set();

  function recordOf(room) {
    if (!records.has(room)) records.set(room, newRecord(room));
    return records.get(room);
  }

  function newRecord(room) {
    const record = { room, picture: null, list: NOBODY, asking: null, failures: 0, isUsed: false };
    const { store, update } = createStore(() => {
      const { members, total, me } = record.picture ?? { total: 0 };
      record.list = members ? listOf(members, record.list) : NOBODY;
      return { members: record.list, total, me: members?.get(me) ?? null };
    });
    const events = createEvents();
    const isReady = () => here.has(room) || !isComing(room);
    const states = createStateWriter({ room, write, isReady });
    const presence = addState({ room, store, setState: states.set, on: events.on }, store);
    return Object.assign(record, { store, update, events, states, presence: Object.freeze(presence) });
  }

  function show(record, picture) {
    const { store, events } = record;
    const snapshot = store.getSnapshot();
    const before = record.picture?.members;
    record.picture = picture;
    record.update();
    if (store.getSnapshot() === snapshot) return;
    // A handler may leave the room.
    const emit = (type, detail) => record.picture === picture && events.emit(type, detail);
    const now = picture?.members;
    if (before && now) {
      for (const [key, member] of now) if (!before.has(key)) emit("join", member);
      for (const [key, member] of before) if (!now.has(key)) emit("leave", member);
    }
    emit("change", store.getSnapshot());
  }

  function askAnew(record) {
    const { room } = record;
    if (record.asking) return;
    const mark = {};
    record.asking = mark;
    const resolve = ({ payload }) => {
      if (record.asking !== mark) return;
      stopAsking(record);
      show(record, createPicture(payload, record.picture));
    };
    const reject = ({ code, retryAfter }) => {
      if (record.asking !== mark) return;
      const isTemporary = TEMPORARY_ERRORS.includes(code);
      if (isTemporary) mark.timer = setTimeout(retry, retryDelay(retryAfter, (record.failures += 1)));
      else record.asking = null;
    };
    const retry = () => {
      record.asking = null;
      askAnew(record);
    };
    ask({ room }, { resolve, reject });
  }

  function stopAsking(record) {
    clearTimeout(record.asking?.timer);
    Object.assign(record, { asking: null, failures: 0 });
  }

  function forget(record) {
    stopAsking(record);
    record.states.reject("CANCELLED");
    show(record, null);
    if (!record.isUsed) records.delete(record.room);
  }

  /** No picture changes before the room is joined again. */
  function connectionLost() {
    here.clear();
    for (const record of [...records.values()]) {
      stopAsking(record);
      if (!isWanted(record.room)) forget(record);
    }
  }

  return {
    /** The page's object for a room. */
    of(room) {
      if (typeof room !== "string") throw new TypeError("A room is named by a string.");
      const record = recordOf(room);
      record.isUsed = true;
      return record.presence;
    },

    /** The page is in the room. `presence` is undefined if nobody is told who is there. */
    joined(room, presence) {
      here.add(room);
      if (!presence && !records.has(room)) return;
      const record = recordOf(room);
      stopAsking(record);
      show(record, presence ? createPicture(presence, record.picture) : null);
      record.states.flush();
    },

    /** The server tells a change. */
    told(payload) {
      const record = records.get(payload?.room);
      if (!record?.picture || !here.has(record.room)) return;
      const next = applyPresence(record.picture, payload);
      if (next) show(record, next);
      else askAnew(record);
    },

    /** The page has left the room. */
    left(room) {
      here.delete(room);
      if (records.has(room)) forget(records.get(room));
    },

    connectionLost,

    /** The next connection is another user's. */
    userChanged() {
      for (const record of [...records.values()]) {
        record.states.reject("USER_CHANGED");
        show(record, null);
      }
    },

    /** No connection is expected. */
    rejectAll(code) {
      connectionLost();
      for (const { states } of records.values()) states.reject(code);
    },
  };
}

/** The members by their arrival; the same list as before if it has not changed. */
function listOf(members, before) {
  const list = [...members.values()].sort((one, other) => one.since - other.since || (one.key < other.key ? -1 : 1));
  const isSame = list.length === before.length && list.every((member, index) => member === before[index]);
  return isSame ? before : Object.freeze(list);
}
