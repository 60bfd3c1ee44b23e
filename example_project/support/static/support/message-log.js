/** The message list of the support room. The room's stream keeps it for the next page. */

import { el, icon, timeOf } from "./dom.js";
import { colourOf, initials } from "./people.js";

const LIMIT = 200;
/** Messages of one user within this time have one heading. */
const GROUP_MS = 3 * 60_000;
const NEAR_END_PX = 80;
/** Earlier messages that come within this time of each other belong together. */
const EARLIER_MS = 300;

const log = document.querySelector("[data-log]");
const list = log.querySelector("[data-messages]");
const waitingList = log.querySelector("[data-waiting]");
const empty = log.querySelector("[data-empty]");
const newer = document.querySelector("[data-newer]");

let previous;
let quietTimer;

/** Adds a message, a contact request or a line about the room. An `earlier` one is from before this page. */
export function add(entry) {
  const atEnd = isAtEnd();
  if (entry.earlier) beQuiet();
  render(entry);
  while (list.children.length > LIMIT) list.firstElementChild.remove();
  if (atEnd || entry.mine || entry.earlier) toEnd();
  else newer.hidden = false;
}

/** Screen readers do not announce the messages that were there before. */
function beQuiet() {
  log.setAttribute("aria-busy", "true");
  clearTimeout(quietTimer);
  quietTimer = setTimeout(() => log.removeAttribute("aria-busy"), EARLIER_MS);
}

/** Shows a message that is not sent yet. Returns a function that removes it. */
export function addWaiting(text) {
  empty.hidden = true;
  const item = el(
    "li",
    { class: "message mine waiting", "data-testid": "waiting" },
    el("p", { class: "message-head" }, icon("clock", "icon icon-small"), "Not sent yet"),
    el("p", { class: "message-bubble", text }),
  );
  waitingList.append(item);
  toEnd();
  return () => {
    item.remove();
    empty.hidden = Boolean(list.children.length || waitingList.children.length);
  };
}

/** Sets the text of the empty log. */
export function sayWhenEmpty(text) {
  empty.querySelector("[data-empty-text]").textContent = text;
}

function render(entry) {
  empty.hidden = true;
  list.append(RENDERERS[entry.kind](entry, previous));
  previous = entry;
}

const RENDERERS = {
  message(entry, previous) {
    const follows =
      previous?.kind === "message" &&
      previous.userId === entry.userId &&
      previous.name === entry.name &&
      entry.at - previous.at < GROUP_MS;
    const classes = ["message", entry.mine && "mine", follows && "follows"].filter(Boolean);
    const initialsShown = !entry.mine && !follows;
    return el(
      "li",
      { class: classes.join(" "), "data-testid": "message", "data-mine": String(entry.mine), "data-earlier": entry.earlier },
      initialsShown
        ? el("span", {
            class: `avatar avatar-${colourOf(entry.userId)}`,
            "aria-hidden": "true",
            text: initials(entry.name),
          })
        : null,
      el(
        "p",
        { class: "message-head" },
        el("span", { class: "message-from", "data-testid": "message-from", text: entry.mine ? "You" : entry.name }),
        timeOf(entry.at),
      ),
      el("p", { class: "message-bubble", "data-testid": "message-text", text: entry.text }),
    );
  },

  contact(entry) {
    return el(
      "li",
      { class: "contact-card", "data-testid": "contact-card", "data-earlier": entry.earlier },
      icon("mail"),
      el("p", { class: "contact-card-head" }, "New contact request", timeOf(entry.at)),
      el("p", { class: "contact-card-subject", text: entry.subject }),
      el("p", { class: "contact-card-excerpt", text: entry.excerpt }),
      el("p", { class: "contact-card-from", text: `From ${entry.name}` }),
    );
  },

  event(entry) {
    return el("li", { class: "event-line", "data-testid": "event-line" }, el("span", {}, `${entry.text} · `, timeOf(entry.at)));
  },
};

function isAtEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
  newer.hidden = true;
}

log.addEventListener("scroll", () => {
  if (isAtEnd()) newer.hidden = true;
});
newer.addEventListener("click", () => {
  toEnd();
  log.focus();
});
new ResizeObserver(() => {
  if (newer.hidden) toEnd();
}).observe(log);
