import { MessageType } from "../constants.js";
import { notInRoom } from "./room.js";

/** A page that hung gets all messages of that time at once. Older ones than this are dropped. */
const MAX_AGE_MS = 1_000;

/** Says if a client's message is volatile: nothing keeps it, and nothing answers it. */
export const isVolatile = ({ type, payload }) =>
  type === MessageType.MESSAGE && payload?.volatile === true;

/**
 * The volatile messages of the tabs on one connection of the user `userId`.
 *
 * The server gives such a message to all connections but its own. So the other tabs get it here, as
 * it was sent. The results are effects, as the router has them; one with `except` is for all other
 * tabs.
 */
export function createVolatile(router, userId = null, now = Date.now) {
  // By room, the tabs that have sent to it: an error without an id may be for them.
  const senders = new Map();
  // The user's name, as far as a message has told it.
  let name = "";

  function handOn(tab, { room, content }) {
    const tabs = router.tabsIn(room);
    const from = userId === null ? {} : { from: { userId, name } };
    const payload = { room, content, ...from, volatile: true };
    const envelope = { type: MessageType.MESSAGE, payload, timestamp: now(), room };
    if (tabs === null) return [{ except: tab, envelope }];
    const to = tabs.filter((each) => each !== tab);
    return to.length > 0 ? [{ to, envelope }] : [];
  }

  return {
    /** The tab sends a volatile message. */
    command(tab, envelope) {
      const { room, content } = envelope.payload;
      if (now() - envelope.timestamp > MAX_AGE_MS) return [];
      if (router.isOutside(tab, room)) {
        const error = { type: MessageType.ERROR, payload: notInRoom(room), timestamp: now() };
        return [{ to: [tab], envelope: error }];
      }
      if (!senders.has(room)) senders.set(room, new Set());
      senders.get(room).add(tab);
      // Without a content the server refuses it.
      return [{ send: envelope }, ...(content === undefined ? [] : handOn(tab, envelope.payload))];
    },

    /** The server sends a frame. Null if it does not answer a volatile message. */
    frame(envelope) {
      const { type, id, payload } = envelope;
      const from = type === MessageType.MESSAGE && payload?.from;
      if (from && from.userId === userId) name = from.name;
      const isRefusal = type === MessageType.ERROR && id === undefined;
      const to = isRefusal && senders.get(payload?.room);
      return to ? [{ to: [...to], envelope }] : null;
    },
  };
}
