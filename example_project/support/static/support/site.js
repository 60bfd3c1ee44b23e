/** On every page of a signed-in user: connects, shows the status and the notifications. */

import { el, icon } from "./dom.js";
import { receive } from "./inbox.js";
import { isEarlier, realtime } from "./realtime.js";
import "./status.js";

const SHOWN_MS = 9_000;
const MAX_TOASTS = 4;

const host = document.querySelector("[data-toasts]");

for (const type of ["notification", "broadcast"]) {
  realtime.on(type, (envelope) => {
    const entry = receive(envelope);
    if (!entry) return;
    if (!isEarlier(envelope)) showToast(entry);
    document.dispatchEvent(new CustomEvent("received", { detail: entry }));
  });
}

/** Shows a notification in the corner. An error, or one with an action, stays until it is closed. */
function showToast({ title, body, kind, action }) {
  const toast = el(
    "div",
    { class: "toast", "data-testid": "toast", "data-kind": kind },
    icon(kind, `icon kind-${kind}`),
    el(
      "div",
      { class: "toast-text" },
      el("p", { class: "toast-title", text: title }),
      body ? el("p", { class: "toast-body", text: body }) : null,
      action ? el("a", { class: "toast-action", href: action.url, text: action.label }) : null,
    ),
    el(
      "button",
      { class: "toast-close", type: "button", "aria-label": `Dismiss: ${title}`, onclick: () => toast.remove() },
      icon("close", "icon icon-small"),
    ),
  );
  host.append(toast);
  while (host.children.length > MAX_TOASTS) host.firstElementChild.remove();
  if (kind !== "error" && !action) leaveInTime(toast);
}

/** Removes the toast after a while. The pointer or the focus on it stops the time. */
function leaveInTime(toast) {
  let timer;
  const start = () => {
    timer = setTimeout(() => toast.remove(), SHOWN_MS);
  };
  const stop = () => clearTimeout(timer);
  for (const event of ["pointerenter", "focusin"]) toast.addEventListener(event, stop);
  for (const event of ["pointerleave", "focusout"]) toast.addEventListener(event, start);
  start();
}

realtime.connect();
