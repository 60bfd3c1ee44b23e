import { pageRealtime } from "./singleton.js";

const { autoConnect, ...options } = JSON.parse(
  document.querySelector("script[data-pm-realtime]")?.dataset.pmRealtime ?? "{}",
);
// JSON has no word for it.
if (options.maxReconnectAttempts === null) options.maxReconnectAttempts = Infinity;

export const realtime = pageRealtime(options);

// An element with that id would be in its place unless it is set.
window.realtime = realtime;
document.dispatchEvent(new CustomEvent("realtime:ready", { detail: realtime }));

if (autoConnect) {
  // Who has disconnected before the second event stays so.
  const connect = () => realtime.closeCode === null && realtime.connect();
  if (document.readyState === "complete") connect();
  // By then the page's other modules have put their handlers on, and miss nothing.
  document.addEventListener("DOMContentLoaded", connect);
  window.addEventListener("load", connect);
}
