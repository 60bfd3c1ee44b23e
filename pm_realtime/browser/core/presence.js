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
 * A record has: `picture`, as the server has told it, null if there is none; `asking`, the question that
 * is not answered yet, with the `timer` of its next attempt; `isUsed`, if the page has its object.
 */
export function createPresences({ ask, write, isComing }) {
  const records = new Map();
  // The rooms of this connection.
  const here = new Set();

  function recordOf(room) {
    if (!records.has(room)) records.set(room, newRecord(room));
    return records.get(room);
  }

  function newRecord(room) {
    const record = { room, picture: null };
    let list = NOBODY;
    const { store, update } = createStore(() => {
      const { members, total = 0, me } = record.picture ?? {};
      list = members ? listOf(members, list) : NOBODY;
      return { members: list, total, me: members?.get(me) ?? null };
    });
    const events = createEvents();
    const isReady = () => here.has(room) || !isComing(room);
    const states = createStateWriter({ room, write, isReady });
    const presence = addState({ room, store, setState: states.set, on: events.on }, store);
    return Object.assign(record, { store, update, events, states, presence: Object.freeze(presence) });
  }

  function show(record, picture) {
    const { picture: last, store, events } = record;
    const snapshot = store.getSnapshot();
    record.picture = picture;
    record.update();
    if (store.getSnapshot() === snapshot) return;
    // A handler may leave the room.
    const emit = (type, detail) => record.picture === picture && events.emit(type, detail);
    const before = last?.members;
    const now = picture?.members;
    if (before && now) {
      for (const [key, member] of now) if (!before.has(key)) emit("join", member);
      for (const [key, member] of before) if (!now.has(key)) emit("leave", member);
    }
    emit("change", store.getSnapshot());
  }

  function askAnew(record, failures = 0) {
    const asking = (record.asking = {});
    ask(
      { room: record.room },
      {
        resolve({ payload }) {
          if (record.asking === asking) answered(record, payload);
        },
        reject({ code, retryAfter }) {
          if (record.asking !== asking) return;
          const again = () => askAnew(record, failures + 1);
          if (!TEMPORARY_ERRORS.includes(code)) record.asking = null;
          else asking.timer = setTimeout(again, retryDelay(retryAfter, failures));
        },
      },
    );
  }

  function answered(record, presence) {
    stop(record);
    show(record, presence ? createPicture(presence, record.picture) : null);
  }

  function stop(record) {
    clearTimeout(record.asking?.timer);
    record.asking = null;
  }

  function forget(record, code) {
    stop(record);
    record.states.reject(code);
    show(record, null);
    if (!record.isUsed) records.delete(record.room);
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
      answered(record, presence);
      record.states.flush();
    },

    /** The server tells a change. */
    told(payload) {
      const record = records.get(payload?.room);
      if (!record?.picture || !here.has(record.room)) return;
      const next = applyPresence(record.picture, payload);
      if (next) show(record, next);
      else if (!record.asking) askAnew(record);
    },

    /** The page has left the room. */
    left(room) {
      here.delete(room);
      if (records.has(room)) forget(records.get(room), "CANCELLED");
    },

    /** No picture changes before the room is joined again. */
    connectionLost() {
      here.clear();
      for (const record of records.values()) {
        stop(record);
        if (!isComing(record.room)) forget(record, "CANCELLED");
      }
    },

    /** No connection is expected, or the next one is another user's. */
    forgetAll(code) {
      here.clear();
      for (const record of records.values()) forget(record, code);
    },
  };
}

/** The members by their arrival; the same list as before if it has not changed. */
function listOf(members, before) {
  const list = [...members.values()].sort(byArrival);
  const isSame = list.length === before.length && list.every((member, index) => member === before[index]);
  return isSame ? before : Object.freeze(list);
}

const byArrival = (one, other) => one.since - other.since || (one.key < other.key ? -1 : 1);
