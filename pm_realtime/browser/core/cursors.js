/** How many former connections a client names when it comes back. */
const MAX_IDS = 8;

/** The newest of former connections, and the first one: by that the server knows its client again. */
export const shortened = (ids) =>
  ids.length > MAX_IDS ? [...ids.slice(0, MAX_IDS - 1), ...ids.slice(-1)] : ids;

/**
 * One cursor a stream: how far a page has got in each. Cursors of one stream sort as texts.
 *
 * The stream of an envelope is that of its room, or of its `to`: the user, a role, or everyone.
 */
export function createCursors() {
  let own = new Map();
  const rooms = new Map();

  const streamOf = ({ room, to }) => (room === undefined ? [own, to] : [rooms, room]);

  // A `gap` follows for what is not whole. It moves the cursor, so that it cannot get lost itself.
  const start = (last, { cursor, recovered }) =>
    recovered === false && last < cursor ? last : cursor;

  return {
    /** Says if the page has had this message. */
    has(envelope) {
      const [streams, name] = streamOf(envelope);
      return envelope.cursor <= streams.get(name);
    },

    /** The page has had this message. Only a stream that has begun moves. */
    note(envelope) {
      const [streams, name] = streamOf(envelope);
      if (envelope.cursor > streams.get(name)) streams.set(name, envelope.cursor);
    },

    /** The stream of the envelope goes on from its cursor, which may be an earlier one. */
    move(envelope) {
      const [streams, name] = streamOf(envelope);
      const isPosition = typeof envelope.cursor === "string" && name !== undefined;
      if (isPosition) streams.set(name, envelope.cursor);
    },

    /** The page's own streams go on where `connected` says. */
    startOwn({ cursors, recovered }) {
      const last = own;
      own = new Map();
      for (const [to, cursor] of Object.entries(cursors ?? {})) {
        own.set(to, start(last.get(to), { cursor, recovered }));
      }
    },

    /** The room goes on where `subscribed` says; without a cursor it has none. */
    startRoom(room, payload) {
      const { cursor, recovered, since } = payload ?? {};
      if (typeof cursor !== "string") rooms.delete(room);
      else rooms.set(room, start(rooms.get(room) ?? since, { cursor, recovered }));
    },

    own: () => Object.fromEntries(own),
    rooms: () => [...rooms],
    room: (room) => rooms.get(room),
  };
}

/** The lowest cursor of each stream, of objects that have cursors by stream. */
export function lowest(all) {
  const found = {};
  for (const [stream, cursor] of all.flatMap((each) => Object.entries(each ?? {}))) {
    if (!(found[stream] <= cursor)) found[stream] = cursor;
  }
  return found;
}

/** Says if a position is, as far as it is known, one of this user. */
export const isOf = (userId, { user }) => user === undefined || user === String(userId ?? "");

/**
 * The address of a connection that goes on from a position: `ids` are the former connections, newest
 * first, `since` the cursors of the own streams of `user`.
 */
export function handshakeUrl(url, { ids = [], user, since } = {}) {
  if (ids.length === 0) return url;
  const query = new URLSearchParams({ resume: shortened(ids) });
  if (since) query.set("since", JSON.stringify(since));
  if (user !== undefined) query.set("user", user);
  return `${url}${url.includes("?") ? "&" : "?"}${query}`;
}
