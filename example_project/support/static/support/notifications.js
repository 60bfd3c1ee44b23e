/** The notifications page: joins the admin rooms, lists incoming notifications, and sends the form. */

import { el, icon, timeOf } from "./dom.js";
import { received } from "./inbox.js";
import { me, realtime } from "./realtime.js";

const list = document.querySelector("[data-inbox]");
const roomsLine = document.querySelector("[data-rooms]");
const form = document.querySelector("[data-send-form]");
const result = form.querySelector("[data-result]");

function listItem({ title, body, kind, action, source, at }) {
  return el(
    "li",
    { class: "inbox-item", "data-testid": "notification", "data-kind": kind },
    icon(kind, `icon kind-${kind}`),
    el(
      "div",
      { class: "inbox-text" },
      el("p", { class: "inbox-title", text: title }),
      body ? el("p", { class: "inbox-body", text: body }) : null,
      action ? el("a", { href: action.url, text: action.label }) : null,
      el("p", { class: "inbox-meta" }, `${source} · `, timeOf(at)),
    ),
  );
}

list.setAttribute("aria-busy", "true");
list.append(...received().reverse().map(listItem));
list.removeAttribute("aria-busy");
document.addEventListener("received", ({ detail }) => list.prepend(listItem(detail)));

const rooms = ["admin:notifications", ...(me.role === "master" ? ["system:broadcast"] : [])];
Promise.allSettled(rooms.map((room) => realtime.subscribe(room))).then((answers) => {
  const joined = rooms.filter((_, index) => answers[index].status === "fulfilled");
  const refused = answers.find(({ status }) => status === "rejected");
  roomsLine.textContent = joined.length
    ? `Yours, and those of ${joined.join(" and ")}.`
    : `Yours only: ${refused.reason.message}`;
});

function setOrRemove(element, name, value) {
  if (value) element.setAttribute(name, value);
  else element.removeAttribute(name);
}

function showErrors(errors) {
  for (const field of form.querySelectorAll("[data-field]")) {
    const messages = (errors[field.dataset.field] ?? []).join(" ");
    const error = field.querySelector("[data-error]");
    const help = field.querySelector(".help");
    error.textContent = messages;
    for (const input of field.querySelectorAll("input, select, textarea")) {
      setOrRemove(input, "aria-invalid", messages && "true");
      setOrRemove(input, "aria-describedby", [help?.id, messages && error.id].filter(Boolean).join(" "));
    }
  }
  form.querySelector("[aria-invalid]")?.focus();
}

function showResult(text, failed = false) {
  result.textContent = text;
  result.toggleAttribute("data-failed", failed);
}

async function send() {
  const response = await fetch(form.action, {
    method: "POST",
    body: new FormData(form),
    headers: { Accept: "application/json" },
    redirect: "error",
  });
  if (response.status === 403) throw new Error("You may not send notifications any more.");
  if (response.status !== 422 && !response.ok) throw new Error("The server could not send it.");
  return response.json();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter ?? form.querySelector("[type=submit]");
  button.disabled = true;
  showResult("");
  try {
    const { errors = {}, sent } = await send();
    showErrors(errors);
    if (sent) {
      showResult(sent);
      form.elements.title.value = "";
      form.elements.body.value = "";
    } else {
      showResult("Not sent yet: see above.", true);
    }
  } catch (error) {
    const offline = error instanceof TypeError;
    showResult(offline ? "Not sent: the server did not answer, or you are signed out." : error.message, true);
  } finally {
    button.disabled = false;
  }
});
