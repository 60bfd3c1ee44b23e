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
if (autoConnect) onceLoaded(realtime.connect);

// The page's other modules have then put their handlers on, and miss nothing.
function onceLoaded(start) {
  if (document.readyState === "complete") {
    start();
    return;
  }
  const events = [
    [document, "DOMContentLoaded"],
    [window, "load"],
  ];
  const run = () => {
    for (const [target, type] of events) target.removeEventListener(type, run);
    start();
  };
  for (const [target, type] of events) target.addEventListener(type, run);
}
