import { createCursors, shortened } from "./cursors.js";

/** Of so many rooms a tab keeps positions. */
const MAX_ROOMS = 100;

/** Stands for a connection that may be open still: one of the tab that this one is a copy of. */
const NOBODY = "-";

/** A tab that was left for longer starts anew. */
const MAX_AGE_MS = 3_600_000;

/** Frames of a page have its storage, but positions of their own. */
const keyOf = (url) => `pm_realtime ${globalThis.frameElement ? `in ${globalThis.name} ` : ""}${url}`;

/**
 * Where this tab is in its streams, as whom, and over which connections it got there.
 *
 * `persist` says what the next page of the tab goes on with: "own" streams, "all" streams with those
 * of rooms, or nothing. That is kept in the tab's storage, by address of the server. It is written
 * when messages have been handled: a page that crashes has written all that it has shown.
 */
export function createPosition(persist) {
  const cursors = createCursors();
  const isKept = Boolean(persist && globalThis.document);
  let url;
  let ids = [];
  // As text; empty for an anonymous connection, undefined before the first one.
  let user;
  // Where the last page was in rooms that this one has not joined yet.
  let leftRooms = {};
  let restored = false;
  let scheduled = false;

  function restore() {
    restored = true;
    if (!isKept) return;
    try {
      const left = JSON.parse(sessionStorage.getItem(keyOf(url)));
      const isOther = user !== undefined && user !== left.user;
      if (isOther || !(Date.now() - left.at < MAX_AGE_MS)) return;
      // The first one gives up its place to the next connection.
      ids = [...new Set([...(left.isOver ? [] : [NOBODY]), ...left.ids, ...ids])];
      user = left.user;
      for (const [to, cursor] of Object.entries(left.own)) {
        if (!cursors.has({ to, cursor })) cursors.move({ to, cursor });
      }
      if (persist === "all") leftRooms = left.rooms;
    } catch {
      // Some browsers refuse the storage. There may also be nothing in it.
    }
  }

  /** `isOver`: the connections have ended. A copy of this tab reads what it wrote while they had not. */
  function save(isOver = false) {
    scheduled = false;
    if (user === undefined) return;
    const all = persist === "all" ? [...Object.entries(leftRooms), ...cursors.rooms()] : [];
    const rooms = Object.fromEntries(all.slice(-MAX_ROOMS));
    const left = { at: Date.now(), user, ids, isOver, own: cursors.own(), rooms };
    try {
      sessionStorage.setItem(keyOf(url), JSON.stringify(left));
    } catch {
      // It is full or refused: the next page starts anew.
    }
  }

  /** Writes once after the frame that is being handled. */
  function touch() {
    if (!isKept || scheduled) return;
    scheduled = true;
    queueMicrotask(() => scheduled && save());
  }

  return {
    has: cursors.has,
    room: cursors.room,

    note(envelope) {
      if (envelope.cursor === undefined) return;
      cursors.note(envelope);
      if (envelope.room === undefined || persist === "all") touch();
    },

    move(envelope) {
      cursors.move(envelope);
      touch();
    },

    startRoom(room, payload) {
      cursors.startRoom(room, payload);
      delete leftRooms[room];
      if (persist === "all") touch();
    },

    /** Where the tab's last page was in a room. */
    leftRoom: (room) => leftRooms[room],

    /** There is a connection. Says if the last one was another user's. */
    connected({ userId, connectionId, ...payload }) {
      const next = String(userId ?? "");
      const isOther = user !== undefined && user !== next;
      if (isOther) {
        cursors.startOwn({});
        ids = [];
        leftRooms = {};
      }
      user = next;
      ids = shortened([...new Set([connectionId, ...ids])].filter((id) => id && id !== NOBODY));
      cursors.startOwn(payload);
      touch();
      return isOther;
    },

    /** What the next handshake with this address says. */
    read(address) {
      url = address;
      if (!restored) restore();
      const since = cursors.own();
      const isOfUse = user === "" || Object.keys(since).length > 0;
      return { ids, user, since: isOfUse ? since : undefined };
    },

    /** The user leaves the page. If it comes back, other pages of the tab have gone on meanwhile. */
    leave() {
      if (isKept) save(true);
      restored = false;
    },
  };
}
