/**
 * Pictures of the members of a room, as `subscribed` and `presence` tell them.
 *
 * A picture has: `rev`, the server's number of the last change that is in it; `total`; `members`, a
 * Map of the members by key, null if only their number is told; `me`, the key of the own member,
 * null if there is none. A picture never changes: a message makes another one. A member that is as it
 * was stays the same object.
 */

/** The picture of an answer of the server, which has all that there is. `before` is the last one. */
export function createPicture({ rev, total, members, me }, before) {
  return {
    rev,
    total,
    members: members ? addTo(new Map(), members, before?.members) : null,
    me: me ?? null,
  };
}

/**
 * The picture after a `presence` message. It is the same one if that message is in it already, and
 * null if a message before it was missed: then the server has to be asked.
 */
export function applyPresence(picture, payload) {
  const { rev, prev, total, joined, updated, left, me = picture.me } = payload;
  if (!(rev > picture.rev)) return picture;
  if (payload.members || !joined) return createPicture({ ...payload, me }, picture);
  if (prev > picture.rev || !picture.members) return null;
  const members = addTo(addTo(new Map(picture.members), joined, picture.members), updated, picture.members);
  for (const key of arrayOf(left)) members.delete(key);
  return { rev, total, members, me };
}

/** The picture as a part of an answer of the server. */
export function writePicture({ rev, total, members, me }) {
  return {
    rev,
    total,
    ...(members && { members: [...members.values()] }),
    ...(me !== null && { me }),
  };
}

function addTo(members, list, before) {
  for (const told of arrayOf(list)) {
    const member = { state: null, ...told };
    const known = before?.get(member.key);
    const isSame = known && JSON.stringify(known) === JSON.stringify(member);
    members.set(member.key, isSame ? known : Object.freeze(member));
  }
  return members;
}

/** What is no list has no members: it must not end the handling of the frame. */
const arrayOf = (value) => (Array.isArray(value) ? value : []);
