/** The connection of the page, which the template tag creates. */
export { realtime } from "../pm_realtime/auto.js";

const { userId, userName, role, loginUrl } = document.body.dataset;

/** The signed-in user. */
export const me = { id: userId, name: userName, role, loginUrl };
