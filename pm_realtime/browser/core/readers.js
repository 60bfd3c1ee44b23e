/**
 * Decides which handlers get a message, so that each gets a stream's messages once and in order.
 *
 * Handlers have numbers, in the order in which they were added. If a room that the page is in is
 * subscribed to from a place, the messages from there are for those that were added after the room's
 * last message, a late group. Until the reply comes it gets nothing, as all that comes again.
 *
 * The state of a room has: `seen`, the last handler when its last message came; `isStarting`, if
 * nobody gets anything before a reply; `late`, the groups. Each has the handlers above `after`, up to
 * the next group, and is at `cursor`, which is null before the last of its replies; the earliest so
 * far said `start`. All others are where the page is. `hasGap`: a group, or the page, has yet to hear
 * of a gap.
 */
export function createReaders({ position, lastNumber }) {
  const states = new Map();

  function stateOf(room) {
    if (!states.has(room)) states.set(room, newState());
    return states.get(room);
  }

  const heldOf = ({ late }) => late.find(({ cursor }) => cursor === null);

  /**
   * For the page and each late group, if it gets what is at `cursor`, which moves it there. Before
   * the last of its replies, a group gets only gaps.
   */
  function reach({ late }, isForPage, { cursor, isGap }) {
    const reached = late.map((group) => {
      const key = isGap && group.cursor === null ? "start" : "cursor";
      const isBehind = group[key] !== null && group[key] < cursor;
      const isReached = isBehind || (isGap && group.hasGap);
      if (isBehind) group[key] = cursor;
      if (isGap) group.hasGap = false;
      return isReached;
    });
    return [isForPage, ...reached];
  }

  /** Whether the handler of a number is among those that get a message. */
  const among = (late, reached) => (number) =>
    reached[late.filter(({ after }) => number > after).length];

  /** Groups that have got as far as the page are late no more. */
  function mergeLate(state, page) {
    while (state.late[0]?.cursor >= page && !state.late[0].hasGap) state.late.shift();
  }

  /** The cursor up to which all who do not wait for a reply have everything. */
  function lowest(room) {
    const late = states.get(room)?.late ?? [];
    return late.reduce(
      (found, { cursor }) => (cursor !== null && cursor < found ? cursor : found),
      position.room(room),
    );
  }

  return {
    /** A test for the numbers of the handlers that get a message; null if nobody does. */
    of(envelope) {
      const { room, cursor } = envelope;
      const isForPage = !position.has(envelope);
      const state = cursor && states.get(room);
      if (state?.isStarting || !(isForPage || state?.late.length)) return null;
      if (!state?.late.length) {
        if (state) state.seen = lastNumber();
        return everybody;
      }
      const late = [...state.late];
      const reached = reach(state, isForPage, { cursor });
      if (reached[reached.length - 1]) state.seen = lastNumber();
      mergeLate(state, isForPage ? cursor : position.room(room));
      return among(late, reached);
    },

    /** The same for the news that something is lost. The page goes on from there, if it has to. */
    ofGap(gap) {
      const state = states.get(gap.room);
      const late = [...(state?.late ?? [])];
      const isAhead = position.room(gap.room) >= gap.cursor;
      const isForPage = late.length === 0 || state.hasGap || !isAhead;
      if (late.length === 0 || !isAhead) position.move(gap);
      if (state) state.hasGap = false;
      if (late.length === 0) return everybody;
      return among(late, reach(state, isForPage, { cursor: gap.cursor, isGap: true }));
    },

    lowest,

    hasLate: (room) => Boolean(states.get(room)?.late.length),

    /** The room is joined. What comes before the reply is from an earlier stay, or comes again. */
    start: (room) => void (stateOf(room).isStarting = true),

    /** A room that the page is in is subscribed to from a place. */
    hold(room) {
      const state = stateOf(room);
      const { late, seen, hasGap } = state;
      const last = late[late.length - 1];
      if (last?.cursor === null) return;
      // Some of these may have subscribed before, without a place or with another one.
      if (last?.after === seen) Object.assign(last, { cursor: null, start: last.cursor });
      else late.push({ after: seen, cursor: null, start: position.room(room), hasGap });
    },

    /**
     * The reply has come, for a group that waits for it or for the whole page. `isLast`: the group
     * waits for no other one. Says if the messages that follow are ahead of what somebody has had.
     */
    answered(room, { cursor, recovered, since }, { isForGroup, isLast }) {
      const state = stateOf(room);
      state.isStarting = false;
      const held = isForGroup && heldOf(state);
      // The `gap` that follows is for those whose reply it was.
      if (recovered === false) (held || state).hasGap = true;
      if (!held) return false;
      const isAhead = cursor > held.start || cursor > lowest(room);
      // Until it comes they stay where they are, as it could get lost itself.
      const start = recovered === false && since < cursor ? since : cursor;
      if (!(held.start <= start)) held.start = start;
      if (isLast) held.cursor = held.start ?? "";
      mergeLate(state, position.room(room));
      return isAhead;
    },

    /** No reply will come. Those who wait for one go on from where they are. */
    release(room) {
      const state = stateOf(room);
      state.isStarting = false;
      const held = heldOf(state);
      if (held) held.cursor = held.start ?? "";
      mergeLate(state, position.room(room));
    },

    forget: (room) => states.delete(room),

    connectionLost: () => states.forEach((state) => (state.isStarting = false)),
  };
}

const newState = () => ({ seen: 0, isStarting: false, hasGap: false, late: [] });

const everybody = () => true;
