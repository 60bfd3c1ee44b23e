/** Who is in the room, above the messages, and who is typing, below them. */

import { el, timeOf } from "./dom.js";
import { colourOf, initials } from "./people.js";
import { realtime } from "./realtime.js";

/** Of more people, the others are a number. */
const MAX_FACES = 4;
const MAX_NAMES_TYPING = 2;
/** A page that is gone in the middle of a word is not typing for ever. */
const TYPING_TTL_SECONDS = 6;
const TYPING_RENEWED_MS = 3_000;

const names = new Intl.ListFormat("en-GB", { type: "conjunction" });

const place = document.querySelector("[data-present]");
const faces = place.querySelector("[data-faces]");
const here = place.querySelector("[data-here]");
const nameLine = place.querySelector("[data-names]");
const people = place.querySelector("[data-people]");
const cameAndWent = document.querySelector("[data-came-and-went]");
const typing = document.querySelector("[data-typing]");

/** Shows `presence`, the members of a room, and what changes. */
export function showPresent(presence) {
  const show = () => {
    place.hidden = presence.total === 0;
    showFaces(presence);
    const { total, members, me } = presence;
    here.replaceChildren(...countOf(total, Boolean(me)));
    const others = members.filter((member) => !isMe(member, presence)).map(nameOf);
    nameLine.textContent = others.length ? names.format([...others, ...(me ? ["you"] : [])]) : "";
    people.replaceChildren(...members.map((member) => person(member, presence)));
    showTyping(presence);
  };
  presence.on("change", show);
  realtime.on(":status", show);
  presence.on("join", (member) => say(`${nameOf(member)} is here`, member, presence));
  presence.on("leave", (member) => say(`${nameOf(member)} has left`, member, presence));
  show();
}

/** Tells the others in the room whether a text is being written: call it with each change. */
export function createTyping(presence) {
  let renewAt = 0;
  return (text) => {
    const isTyping = Boolean(text.trim());
    if (isTyping ? Date.now() < renewAt : !renewAt) return;
    renewAt = isTyping ? Date.now() + TYPING_RENEWED_MS : 0;
    if (isTyping) presence.setState({ typing: true }, { ttl: TYPING_TTL_SECONDS });
    else presence.setState(null);
  };
}

/** "3 people here", of which a narrow window shows "3 here". */
function countOf(total, isMember) {
  if (total === 1 && isMember) return ["Only you are here"];
  return [`${total} `, el("span", { class: "wide", text: total === 1 ? "person " : "people " }), "here"];
}

const isMe = (member, { me }) => member.key === me?.key;
// Without a connection nobody says that a state is over.
const isTyping = ({ state }) => realtime.connected && Boolean(state?.typing);
/** The server knows nothing of a person if it could not read that in time. */
const nameOf = ({ info }) => info.name ?? "Somebody";

function face(member) {
  const classes = `avatar avatar-${colourOf(member.userId)}${isTyping(member) ? " avatar-typing" : ""}`;
  const name = nameOf(member);
  return el("span", { class: classes, title: name, "aria-hidden": "true", text: initials(name) });
}

function showFaces({ members, total }) {
  const shown = members.slice(0, total > MAX_FACES ? MAX_FACES - 1 : MAX_FACES);
  const more = total - shown.length;
  const rest = more ? el("span", { class: "avatar avatar-more", text: `+${more}` }) : null;
  faces.replaceChildren(...shown.map(face), ...(rest ? [rest] : []));
}

function person(member, presence) {
  const { info, since, connections } = member;
  const places = connections > 1 ? `in ${connections} browsers, ` : "";
  const detail = isTyping(member) ? ["typing…"] : [`${places}since `, timeOf(since)];
  return el(
    "li",
    { class: "present-person", "data-testid": "present-person" },
    face(member),
    el(
      "span",
      { class: "present-person-name" },
      nameOf(member),
      isMe(member, presence) ? el("span", { class: "present-you", text: " (you)" }) : null,
    ),
    info.role ? el("span", { class: "badge", text: info.role }) : null,
    el("span", { class: "present-person-detail" }, ...detail),
  );
}

function showTyping(presence) {
  const writers = presence.members.filter((member) => isTyping(member) && !isMe(member, presence));
  const text = writers.length ? `${whoOf(writers)} ${writers.length > 1 ? "are" : "is"} typing` : "";
  if (typing.dataset.text === text) return;
  typing.dataset.text = text;
  const dots = el("span", { class: "typing-dots", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
  typing.replaceChildren(...(text ? [dots, el("span", { class: "typing-text", text })] : []));
}

function whoOf(writers) {
  if (writers.length > MAX_NAMES_TYPING) return `${writers.length} people`;
  return names.format(writers.map(nameOf));
}

function say(text, member, presence) {
  if (!isMe(member, presence)) cameAndWent.textContent = text;
}

document.addEventListener("click", ({ target }) => {
  if (!place.contains(target)) place.open = false;
});
document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || !place.open) return;
  place.open = false;
  place.querySelector("summary").focus();
});
