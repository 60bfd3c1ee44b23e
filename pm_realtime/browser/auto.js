/** The page's client, with the options that `{% realtime_client %}` put into its script tag. */
import { createRealtime } from "./client.js";
import { startPage } from "./core/singleton.js";

export const realtime = startPage(createRealtime);
