/** A position in a stream. */
export const CURSOR = /^\d{13}-\d{6}$/;

/** The last messages of each room, of each user, of each role and of everyone. */
export function createStreams(settings) {
  const byName = new Map();
  let ms = 0;
  let count = 0;

  /** A position after all others. */
  function next() {
    const now = Date.now();
    count = now > ms ? 0 : count + 1;
    ms = Math.max(ms, now);
    return `${String(ms).padStart(13, "0")}-${String(count).padStart(6, "0")}`;
  }

  function of(name) {
    if (!byName.has(name)) byName.set(name, createStream(settings.history, next));
    return byName.get(name);
  }

  return {
    ofRoom: (room) => of(`room ${room}`),

    /** Those of the user that is logged in; undefined for an anonymous one, which has none. */
    ofOwn(to) {
      if (settings.userId === null) return undefined;
      return of(to === "user" ? `user ${settings.userId}` : to);
    },

    forget() {
      for (const stream of byName.values()) stream.forget();
    },
  };
}

/** Each message knows its predecessor's position, so it is known what follows a position whole. */
function createStream(size, next) {
  let kept = [];
  let top = next();

  return {
    /** The envelope with its cursor. */
    append(envelope, exclude) {
      if (size === 0) return envelope;
      const cursor = next();
      const stored = { ...envelope, cursor };
      kept = [...kept, { envelope: stored, exclude, cursor, previous: top }].slice(-size);
      top = cursor;
      return stored;
    },

    /** `isWhole` is null without a `since`. */
    start(since, last) {
      if (size === 0) return { cursor: null, isWhole: since === undefined ? null : false, missed: [] };
      const after = kept.filter(({ cursor }) => cursor > since);
      const isWhole = CURSOR.test(since) && (after[0]?.previous ?? top) <= since;
      const isRecovery = since !== undefined;
      let missed = [];
      if (isRecovery && (isWhole || last === undefined)) missed = CURSOR.test(since) ? after : kept;
      else if (last > 0) missed = kept.slice(-last);
      const cursor = isWhole && since <= top ? since : (missed[0]?.previous ?? top);
      return { cursor, isWhole: isRecovery ? isWhole : null, missed };
    },

    forget() {
      kept = [];
      top = next();
    },
  };
}
