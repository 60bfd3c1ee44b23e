import { createRealtime } from "../pm_realtime/client.js";

/** The page's one connection. A support desk wants it back however long the server is away. */
export const realtime = createRealtime({ maxReconnectAttempts: Infinity });

const { userId, userName, role, loginUrl } = document.body.dataset;

/** Who is signed in, as the page knows it. */
export const me = { id: userId, name: userName, role, loginUrl };
