/**
 * Decides which handlers get a message, so that each gets a stream's messages once and in order.
 *
 * Handlers have numbers, in the order in which they were added. If a room that the page is in is
 * subscribed to with a place, the messages from there are for those that were added after the room's
 * last message. Until the reply comes these get nothing, as it comes again after it.
 *
 * The state of a room has: `seen`, the last handler when its last message came; `heldAfter`: the
 * handlers above wait for a reply; `lateAfter`: those above get what the others have had;
 * `isStarting`: nobody gets anything before the reply.
 */
export function createReaders({ position, lastNumber }) {
  const states = new Map();

  function stateOf(room) {
    if (!states.has(room)) states.set(room, newState());
    return states.get(room);
  }

  return {
    /** The numbers of the handlers that get a message: above `after`, up to `upTo`. */
    of(envelope) {
      const isHad = position.has(envelope);
      const state = envelope.cursor && states.get(envelope.room);
      if (!state) return { after: isHad ? Infinity : 0, upTo: Infinity };
      if (state.isStarting) return { after: Infinity };
      const { lateAfter, heldAfter: upTo } = state;
      const after = isHad ? (envelope.replayed ? lateAfter : Infinity) : 0;
      if (after < upTo && upTo === Infinity) state.seen = lastNumber();
      return { after, upTo };
    },

    /** The same for the event that something is lost. */
    ofGap({ room, cursor }) {
      const after = states.get(room)?.lateAfter ?? Infinity;
      return { after: after < Infinity && cursor <= position.room(room) ? after : 0 };
    },

    /** The room is joined from a place. */
    start: (room) => void (stateOf(room).isStarting = true),

    /** A room that the page is in is subscribed to from a place. */
    hold(room) {
      const state = stateOf(room);
      state.heldAfter = Math.min(state.heldAfter, state.seen);
    },

    /** The reply has come. `isHeld`: it is the one that handlers wait for. */
    answered(room, isHeld) {
      const state = stateOf(room);
      state.isStarting = false;
      if (!isHeld) return;
      state.lateAfter = state.heldAfter;
      state.heldAfter = Infinity;
    },

    /** No reply will come. */
    release(room) {
      const { seen } = stateOf(room);
      states.set(room, { ...newState(), seen });
    },

    forget: (room) => states.delete(room),

    connectionLost() {
      for (const state of states.values()) {
        Object.assign(state, { isStarting: false, lateAfter: Infinity });
      }
    },
  };
}

const newState = () => ({ seen: 0, heldAfter: Infinity, lateAfter: Infinity, isStarting: false });
