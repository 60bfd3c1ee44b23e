/** The rooms of the connection that tabs share, as the router keeps them. */
import { ErrorCode } from "../constants.js";
import { createPicture, writePicture } from "../core/picture.js";

/**
 * `tabs`: those that are in the room. `waiting`: requests that were not sent yet, and `asked`: the
 * one that waits for the server. `granted`: the server's last answer, given at `grantedAt`.
 * `position`: the cursor after which the connection goes on. `picture`: who is in the room, null if a
 * change was missed. `everyone`: server code put the connection into the room, so all tabs are in it.
 */
export function newRoom() {
  return {
    tabs: new Set(),
    waiting: [],
    asked: null,
    granted: null,
    grantedAt: 0,
    position: undefined,
    picture: undefined,
    everyone: false,
  };
}

/** Says if a request wants the messages from now on. */
export const isPlain = ({ since, last }) => since === undefined && last === undefined;

/** The requests that the server has not answered. */
export const requestsOf = ({ asked, waiting }) => (asked ? [...waiting, asked] : waiting);

/** Says if the tab is in the room, or asks for it. */
export const isOf = (room, tab) => [room, ...requestsOf(room)].some(({ tabs }) => tabs.has(tab));

/** Says if some tab is. */
export const isWanted = (room) =>
  room.everyone || [room, ...requestsOf(room)].some(({ tabs }) => tabs.size > 0);

/** The tab is not in the room, and does not ask for it. */
export function release(tab, room) {
  for (const { tabs } of [room, ...requestsOf(room)]) tabs.delete(tab);
  room.waiting = room.waiting.filter(({ tabs }) => tabs.size > 0);
}

/** `asker` gets the answer, and `tabs` the messages from then on. */
export const newRequest = (tab, envelope) => ({ asker: tab, tabs: new Set([tab]), envelope });

/**
 * The answer to a tab that the server need not hear of; null if it wants what came before, or if it is
 * not known who is in the room.
 */
export function answerFrom({ granted, position, picture }, request) {
  const { since } = request;
  if (picture === null) return null;
  const known = picture ? { ...granted, presence: writePicture(picture) } : granted;
  if (isPlain(request)) return position === undefined ? known : { ...known, cursor: position };
  return position <= since ? { ...known, cursor: since, recovered: true } : null;
}

/** Takes the request that goes back furthest, as its answer does for more of the others. */
export function takeEarliest(waiting) {
  const sinceOf = ({ envelope }) => envelope.payload.since;
  const earliest = waiting.reduce((one, other) => (sinceOf(other) < sinceOf(one) ? other : one));
  waiting.splice(waiting.indexOf(earliest), 1);
  return earliest;
}

/** The server's answer to a request is that the connection is in the room. */
export function grant(room, { presence, ...granted }, now) {
  const picture = presence && createPicture(presence);
  Object.assign(room, { granted, grantedAt: now, picture });
}

/** The payload of the error for a tab that is not in the room. */
export function notInRoom(room) {
  const message = "Subscribe to the room before sending to it.";
  return { code: ErrorCode.NOT_IN_ROOM, message, room };
}
