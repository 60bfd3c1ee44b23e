/** The page's one connection, as the template tag makes it. */
export { realtime } from "../pm_realtime/auto.js";

const { userId, userName, role, loginUrl } = document.body.dataset;

/** Who is signed in, as the page knows it. */
export const me = { id: userId, name: userName, role, loginUrl };
