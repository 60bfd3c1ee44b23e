/** The connection of the page, which the template tag above creates. */
export const { realtime } = window;

const { userId, userName, role, loginUrl } = document.body.dataset;

/** The signed-in user. */
export const me = { id: userId, name: userName, role, loginUrl };
