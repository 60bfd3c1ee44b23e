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

/** The messages and contact requests that can be solved, by kind and id. */
const solvables = new Map();

let previous;
let quietTimer;
let ask = async () => {};

/** Adds a message, a contact request or a line about the room. An `earlier` one is from before this page. */
export function add(entry) {
  const atEnd = isAtEnd();
  if (entry.earlier) beQuiet();
  render(entry);
  while (list.children.length > LIMIT) drop(list.firstElementChild);
  if (atEnd || entry.mine || entry.earlier) toEnd();
  else newer.hidden = false;
}

function drop(item) {
  solvables.delete(item.dataset.key);
  item.remove();
}

/** Calls `handler(kind, id, solved)` when somebody marks an entry here. It returns a promise. */
export function onMark(handler) {
  ask = handler;
}

/** Shows that an entry is solved, and by whom, or that it is open again. */
export function mark({ kind, id, solved, by }) {
  const atEnd = isAtEnd();
  solvables.get(`${kind}:${id}`)?.({ solved, by });
  if (atEnd) toEnd();
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

/** The parts of an entry that show whether it is solved: a line, and a button that changes it. */
function solvable(item, { kind, id }) {
  const line = el("p", { class: "solved-by", "data-testid": "solved-by", hidden: true });
  const button = el("button", { class: "mark", type: "button", "data-testid": "mark" });
  let isSolved = false;

  function show({ solved, by = "" }) {
    isSolved = solved;
    item.classList.toggle("solved", solved);
    line.hidden = !solved;
    line.replaceChildren(...(solved ? [icon("success", "icon icon-small"), `Solved by ${by}`] : []));
    const label = solved ? "Open again" : "Mark as solved";
    button.title = label;
    button.replaceChildren(icon(solved ? "undo" : "success"), el("span", { class: "mark-label", text: label }));
  }

  button.addEventListener("click", async () => {
    // Not `disabled`, which would take the focus away.
    if (button.hasAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    await ask(kind, id, !isSolved);
    button.removeAttribute("aria-disabled");
  });

  item.dataset.key = `${kind}:${id}`;
  solvables.set(item.dataset.key, show);
  show({ solved: false });
  item.append(button, line);
  return item;
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
    const item = el(
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
    return solvable(item, entry);
  },

  contact(entry) {
    const item = el(
      "li",
      { class: "contact-card", "data-testid": "contact-card", "data-earlier": entry.earlier },
      icon("mail"),
      el("p", { class: "contact-card-head" }, "Contact request", timeOf(entry.at)),
      el("p", { class: "contact-card-subject", text: entry.subject }),
      el("p", { class: "contact-card-excerpt", text: entry.excerpt }),
      el("p", { class: "contact-card-from", text: `From ${entry.name}` }),
    );
    return solvable(item, entry);
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
