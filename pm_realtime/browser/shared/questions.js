import { MessageType } from "../constants.js";
import { createPicture } from "../core/picture.js";

/**
 * The questions of tabs for the members of rooms. Tabs that miss the same change ask the server once.
 * The results are effects, as the router has them.
 */
export function createQuestions() {
  // By the id of a question that was sent: its room, and the tabs with the ids of their own questions.
  const sent = new Map();

  return {
    /** Says if the question of this id was sent. */
    has: (id) => sent.has(id),

    /** A tab asks. `room` is undefined if the connection is not in it. */
    ask(tab, room, envelope) {
      const { id } = envelope;
      // A tab that asks again has waited too long for an answer.
      const isNew = ({ askers }) => askers.every((each) => each.tab !== tab);
      const asked = [...sent.values()].find((each) => room && each.room === room && isNew(each));
      if (asked) {
        asked.askers.push({ tab, id });
        return [];
      }
      sent.set(id, { room, askers: [{ tab, id }] });
      return [{ send: envelope }];
    },

    /** The server answers. */
    settle(reply) {
      const { room, askers } = sent.get(reply.id);
      sent.delete(reply.id);
      if (room && reply.type === MessageType.PRESENCE) room.picture = createPicture(reply.payload);
      return askers.map(({ tab, id }) => ({ to: [tab], envelope: { ...reply, id } }));
    },
  };
}
