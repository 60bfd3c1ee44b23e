/** On every page of a signed-in user: connects, shows the status and the notifications. */

import { receive } from "./inbox.js";
import { realtime } from "./realtime.js";
import "./status.js";
import { showToast } from "./toasts.js";

for (const type of ["notification", "broadcast"]) {
  realtime.on(type, (envelope) => {
    const entry = receive(envelope);
    if (!entry) return;
    showToast(entry);
    document.dispatchEvent(new CustomEvent("received", { detail: entry }));
  });
}

realtime.connect();
