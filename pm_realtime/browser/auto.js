/** The page's client, with the options that `{% realtime_client %}` put into its script tag. */
import { pageRealtime } from "./core/singleton.js";

const { autoConnect, ...options } = JSON.parse(
  document.querySelector("script[data-pm-realtime]")?.dataset.pmRealtime ?? "{}",
);
// JSON has no word for infinity.
if (options.maxReconnectAttempts === null) options.maxReconnectAttempts = Infinity;

export const realtime = pageRealtime(options);

window.realtime = realtime;
document.dispatchEvent(new CustomEvent("realtime:ready", { detail: realtime }));

if (autoConnect) {
  const connect = () => realtime.closeCode === null && realtime.connect();
  if (document.readyState === "complete") connect();
  // After the page's other modules have run, so that their handlers miss nothing.
  document.addEventListener("DOMContentLoaded", connect);
  window.addEventListener("load", connect);
}
