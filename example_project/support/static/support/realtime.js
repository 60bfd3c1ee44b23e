/** The connection of the page, which the template tag above creates. */
export const { realtime } = window;

const { userId, userName, role, loginUrl } = document.body.dataset;

/** The signed-in user. */
export const me = { id: userId, name: userName, role, loginUrl };

/** Whether `envelope` was in its room before this page, which asked for the room's last messages. */
export function isEarlier({ room, replayed, timestamp }) {
  return Boolean(room && replayed) && timestamp < performance.timeOrigin;
}
