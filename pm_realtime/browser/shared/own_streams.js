import { MessageType } from "../constants.js";

/** How many of their messages are kept for tabs that join late. */
const MAX_KEPT = 500;

/**
 * The streams of the user of one connection, and how far back a tab that joins can be served.
 *
 * Every position is a plain object that has a cursor for each `to`.
 */
export function createOwnStreams() {
  // How far the connection is; the positions after which all its messages are in `kept`; those
  // before which the server has lost some; and those that the server took back.
  let last = {};
  let earliest = {};
  let lost = {};
  let reset = {};
  let kept = [];

  const isLate = (since, to) => since[to] < earliest[to];

  return {
    /** There is a new connection, which was asked to go on `since` and goes on from `cursors`. */
    start(cursors = {}, since = {}) {
      last = { ...cursors };
      earliest = { ...cursors };
      lost = pick(cursors, (cursor, to) => cursor > since[to]);
      reset = pick(cursors, (cursor, to) => cursor < since[to]);
      kept = [];
    },

    /** A frame came. */
    note(envelope) {
      const { to, cursor } = envelope;
      if (to === undefined || cursor === undefined) return;
      last[to] = cursor;
      if (envelope.type === MessageType.GAP) {
        earliest[to] = cursor;
        lost[to] = cursor;
        kept = kept.filter((each) => each.to !== to);
        return;
      }
      kept.push(envelope);
      if (kept.length <= MAX_KEPT) return;
      const oldest = kept.shift();
      earliest[oldest.to] = oldest.cursor;
    },

    /** Says if nothing earlier has to be asked of the server for a tab that goes on `since`. */
    covers: (since = {}) =>
      Object.keys(earliest).every((to) => !isLate(since, to) || earliest[to] === lost[to]),

    /** How far the connection is. */
    get last() {
      return last;
    },

    /** For the tabs that a new connection finds: from where it goes on. */
    get opened() {
      return { from: earliest, reset };
    },

    /** For a tab that joins later: from where it goes on, and the messages that it missed. */
    join(since = {}) {
      const start = (to) => (isLate(since, to) ? earliest[to] : (since[to] ?? last[to]));
      const from = Object.fromEntries(Object.keys(last).map((to) => [to, start(to)]));
      return { from, missed: kept.filter(({ to, cursor }) => cursor > from[to]) };
    },
  };
}

const pick = (cursors, test) =>
  Object.fromEntries(Object.entries(cursors).filter(([to, cursor]) => test(cursor, to)));
