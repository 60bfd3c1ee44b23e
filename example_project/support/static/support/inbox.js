/** The notifications of this user in this tab. They survive page loads. */

import { createStore } from "./store.js";
import { me } from "./realtime.js";

const KINDS = ["info", "success", "warning", "error"];
const store = createStore(`inbox:${me.id}`, 50);

export const received = () => store.all();

/**
 * Stores a `notification` or `broadcast`. Returns its entry, or null if it has nothing to show, or is
 * there already: the last messages of a room come again on each page that asks for them.
 */
export function receive(envelope) {
  const entry = readNotification(envelope);
  if (!entry || (entry.position && store.all().some(({ position }) => position === entry.position))) return null;
  store.add(entry);
  return entry;
}

/** The payload can be anything that server code pushed, so every field is checked. */
function readNotification({ type, payload, room, to, cursor, timestamp }) {
  const { title, body, type: kind, action } = Object(payload);
  const name = text(title) || text(payload) || text(Object(payload).message);
  if (!name) return null;
  return {
    title: name,
    body: text(body),
    kind: KINDS.includes(kind) ? kind : "info",
    action: readAction(action),
    source: type === "broadcast" ? "To everyone" : room ? `Room ${room}` : "To you or your role",
    at: timestamp,
    position: cursor ? `${room ?? to} ${cursor}` : null,
  };
}

function readAction(action) {
  const { label, url } = Object(action);
  if (!text(label) || !text(url)) return null;
  try {
    const { protocol, href } = new URL(url, location.href);
    return ["http:", "https:"].includes(protocol) ? { label, url: href } : null;
  } catch {
    return null;
  }
}

function text(value) {
  return typeof value === "string" ? value.trim() : "";
}
