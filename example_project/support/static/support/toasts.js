import { el, icon } from "./dom.js";

const STAYS = 9_000;
const MOST = 4;

const host = document.querySelector("[data-toasts]");

/** Shows a notification in the corner. An error, or one with something to do, stays until closed. */
export function showToast({ title, body, kind, action }) {
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
  while (host.children.length > MOST) host.firstElementChild.remove();
  if (kind !== "error" && !action) leaveInTime(toast);
}

/** Takes the toast away after a while in which nobody points at it or has the focus in it. */
function leaveInTime(toast) {
  let timer;
  const start = () => {
    timer = setTimeout(() => toast.remove(), STAYS);
  };
  const stop = () => clearTimeout(timer);
  for (const event of ["pointerenter", "focusin"]) toast.addEventListener(event, stop);
  for (const event of ["pointerleave", "focusout"]) toast.addEventListener(event, start);
  start();
}
