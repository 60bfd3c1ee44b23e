import { MessageType } from "../constants.js";

/** The envelope with a timestamp and an id. */
export function complete(envelope) {
  return { ...envelope, timestamp: envelope.timestamp ?? Date.now(), id: envelope.id ?? newId() };
}

/** The answer to an `unsubscribe` that the server need not hear of. */
export const unsubscribed = (room) =>
  complete({ type: MessageType.UNSUBSCRIBED, payload: { room, success: true } });

/** The room that a message or a command of the site is for. */
export const roomOf = ({ type, room, payload }) => (type === MessageType.MESSAGE ? payload?.room : room);

/** The envelopes in a frame, which holds one or an array of them. */
export function decode(data) {
  try {
    return [JSON.parse(data)].flat().filter((envelope) => typeof envelope?.type === "string");
  } catch {
    return [];
  }
}

/** A new random id. */
export function newId() {
  // Pages on plain http have no randomUUID.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
