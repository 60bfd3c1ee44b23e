/** The support chat: joins the room, shows its last messages and new ones, and explains a refusal. */

import { ErrorCode } from "../pm_realtime/client.js";
import { createComposer } from "./composer.js";
import { add, addWaiting, mark, onMark, sayWhenEmpty } from "./message-log.js";
import { createTyping, showPresent } from "./present.js";
import { isEarlier, me, realtime } from "./realtime.js";
import { notices } from "./status.js";

const ROOM = "support";
/** Messages and contact requests from before this page. */
const EARLIER = 50;
const chat = document.querySelector("[data-chat]");
const presence = realtime.presence(ROOM);
const composer = createComposer(chat.querySelector("[data-composer]"), {
  send: (text) => realtime.call("support.send", { text }, { room: ROOM }),
  isConnected: () => realtime.connected,
  showWaiting: addWaiting,
  onText: createTyping(presence),
});

// The position of the last message that is shown. Cursors sort as texts.
let shown = "";

// The server does not let this page into the room, or it does not connect again by itself.
let refused = false;
let ended = false;

function setJoined(joined) {
  chat.dataset.joined = String(joined);
  // Messages that are written while the page reconnects are sent afterwards.
  composer.setAllowed(!refused && !ended);
}

function join() {
  notices.clear("room");
  chat.hidden = false;
  const position = shown ? { since: shown, last: EARLIER } : { last: EARLIER };
  realtime.subscribe(ROOM, position).catch(onRefused);
}

function onJoined() {
  notices.clear("room");
  chat.hidden = false;
  refused = false;
  setJoined(true);
  composer.focus();
  sayWhenEmpty("No messages yet. Write the first one, or wait for a contact request.");
}

/** The server refused the room, at the first try or after a lost connection. */
function onRefused(error) {
  // The connection was lost, and the page already has a notice about it.
  if (!error.envelope) return;
  refused = true;
  setJoined(false);
  const role = realtime.role ?? me.role;
  const detail = `The server’s answer: ${error.code}. ${error.message}`;
  if (error.code === ErrorCode.FORBIDDEN) {
    chat.hidden = true;
    notices.show("forbidden", {
      sign: "lock",
      large: true,
      title: "The support room is for editors and above",
      body: `You are signed in as ${me.name} with the role “${role}”, so you can neither read nor write here. To reach the people on duty, use the contact form: they see it at once.`,
      detail,
      actions: [{ label: "Write to support", href: chat.dataset.contactUrl, main: true }],
    });
  } else if (error.code === ErrorCode.AUTH_REQUIRED) {
    notices.show("room", {
      level: "warning",
      sign: "lock",
      title: "Sign in to join the support room",
      detail,
      actions: [{ label: "Sign in", href: me.loginUrl, main: true }],
    });
  } else if (error.code === ErrorCode.RATE_LIMITED) {
    notices.show("room", {
      level: "warning",
      sign: "clock",
      title: "Too many messages. Joining the room again",
      wait: error.retryAfter ?? 5000,
      waited: join,
    });
  } else {
    const full = error.code === ErrorCode.ROOM_FULL;
    notices.show("room", {
      level: "error",
      title: full ? "The support room is full" : "The support room cannot be joined now",
      body: full ? "Someone has to leave before you can come in." : null,
      detail,
      actions: [{ label: "Try again", run: join }],
    });
  }
}

realtime.on("subscribed", ({ payload }) => {
  if (payload?.room === ROOM) onJoined();
});

realtime.on("unsubscribed", ({ payload }) => {
  if (payload?.room !== ROOM) return;
  refused = true;
  setJoined(false);
  notices.show("room", {
    level: "warning",
    title: "You were taken out of the support room",
    body: payload.reason ?? null,
    actions: [{ label: "Join again", run: join }],
  });
});

/** Whether `envelope` is of this room and not shown yet. */
function isNew({ room, cursor }) {
  if (room !== ROOM || (cursor && cursor <= shown)) return false;
  shown = cursor ?? shown;
  return true;
}

realtime.on("support.message", (envelope) => {
  if (!isNew(envelope)) return;
  const { id, author, text, sentAt } = envelope.payload;
  add({
    kind: "message",
    id,
    userId: author.userId,
    name: author.name,
    mine: String(author.userId) === me.id,
    text,
    at: Date.parse(sentAt),
    earlier: isEarlier(envelope),
  });
});

realtime.on("contact", (envelope) => {
  if (!isNew(envelope)) return;
  const { id, name, subject, excerpt, created } = envelope.payload;
  const earlier = isEarlier(envelope);
  add({ kind: "contact", id, name, subject, excerpt, at: Date.parse(created), earlier });
});

realtime.on("support.marked", (envelope) => {
  if (isNew(envelope)) mark(envelope.payload);
});

onMark(async (kind, id, solved) => {
  notices.clear("not-marked");
  try {
    mark(await realtime.call("support.mark", { kind, id, solved }, { room: ROOM }));
  } catch (error) {
    notices.show("not-marked", {
      level: "error",
      title: solved ? "Not marked as solved" : "Not opened again",
      body: error.message,
    });
  }
});

realtime.on(":gap", ({ room }) => {
  if (room === ROOM) add({ kind: "event", text: "Messages may be missing here", at: Date.now() });
});

realtime.on(":close", ({ willReconnect, resting }) => {
  ended = !willReconnect && !resting;
  setJoined(false);
});

realtime.on(":status", ({ status }) => {
  if (status !== "connecting") return;
  ended = false;
  setJoined(false);
});

showPresent(presence);
join();
