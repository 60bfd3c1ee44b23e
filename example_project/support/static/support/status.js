/** The status of the connection: the pill beside the heading, and a notice if something is wrong. */

import { CloseCode } from "../pm_realtime/client.js";
import { countdown, el } from "./dom.js";
import { createNotices } from "./notices.js";
import { me, realtime } from "./realtime.js";

const pill = document.querySelector("[data-testid=status]");
const label = pill.querySelector("[data-label]");
const seconds = pill.querySelector("[data-countdown]");
const server = pill.querySelector("[data-process]");

/** The notices of the page as a whole. */
export const notices = createNotices(document.querySelector("[data-notices]"));

const CONNECTION = "connection";
const connect = () => realtime.connect();

/** Texts for the close codes after which the client does not reconnect. */
const ENDINGS = {
  [CloseCode.SESSION_ENDED]: {
    state: "signed-out",
    pill: "Signed out",
    level: "warning",
    sign: "lock",
    title: "You are signed out",
    body: "Sign in again to go on. What you have typed stays here until you leave the page.",
    actions: [{ label: "Sign in", href: me.loginUrl, main: true }],
  },
  [CloseCode.REPLACED]: {
    state: "replaced",
    pill: "In use elsewhere",
    level: "warning",
    title: "This tab was disconnected",
    body: "You have this site open in more places than may be connected at a time. The newest one replaced this tab.",
    actions: [{ label: "Use here", run: connect, main: true }],
  },
  [CloseCode.DISCONNECTED]: {
    state: "stopped",
    pill: "Not connected",
    level: "warning",
    title: "The site ended this connection",
    body: "This page does not reconnect by itself.",
    actions: [{ label: "Connect again", run: connect }],
  },
  [CloseCode.USER_GONE]: {
    state: "signed-out",
    pill: "Signed out",
    level: "error",
    title: "Your account is no longer active",
    body: "Ask an administrator if you think it should be.",
  },
  [CloseCode.TOO_MANY_CONNECTIONS]: {
    state: "stopped",
    pill: "Not connected",
    level: "warning",
    title: "You are connected in too many places",
    body: "Close this site in another tab or browser, then connect here.",
    actions: [{ label: "Connect here", run: connect, main: true }],
  },
};

const STOPPED = {
  state: "stopped",
  pill: "Not connected",
  level: "error",
  sign: "offline",
  title: "Disconnected",
  body: "The connection could not be made.",
  actions: [{ label: "Try again", run: connect, main: true }],
};

/** A connection that is back within this time was not worth a word. */
const GRACE_MS = 1_000;
/** Firefox closes the socket before the page is left, and the next page may take a while. */
const LEAVING_GRACE_MS = 15_000;

let stopCountdown = () => {};
let lostOnce = false;
let leaving = false;
let graceTimer = null;
// The page is that of a user who is not signed in any more.
let signedOut = false;

function showPill(state, text) {
  stopCountdown();
  pill.hidden = false;
  pill.dataset.state = state;
  // Screen readers announce every assignment, so an unchanged text is not set again.
  if (label.textContent !== text) label.textContent = text;
  seconds.textContent = "";
  server.textContent = "";
}

function showConnected() {
  endGrace();
  lostOnce = false;
  leaving = false;
  showPill("connected", "Connected");
  notices.clear(CONNECTION);
}

function showWaiting(retryAt) {
  showPill("waiting", "Trying again");
  stopCountdown = countdown(retryAt - Date.now(), (left) => {
    seconds.textContent = `in ${left} s`;
  });
}

function showLost() {
  lostOnce = true;
  graceTimer = null;
  notices.show(CONNECTION, {
    level: "error",
    sign: "offline",
    title: "Disconnected, trying again",
    body: "Nothing new arrives for now. This page reconnects by itself, and then sends what you write.",
    actions: [{ label: "Try now", run: connect }],
  });
  showCurrent();
}

function showStopped(code) {
  endGrace();
  lostOnce = false;
  const ending = ENDINGS[signedOut ? CloseCode.SESSION_ENDED : code] ?? STOPPED;
  const { state, pill: text, ...notice } = ending;
  showPill(state, text);
  notices.show(CONNECTION, notice);
  if (state === "signed-out") forgetUser();
}

/** The header names nobody any more. */
function forgetUser() {
  const link = el("a", { class: "button button-quiet", href: me.loginUrl, text: "Sign in" });
  document.querySelector("[data-site-user]").replaceChildren(link);
}

function endGrace() {
  clearTimeout(graceTimer);
  graceTimer = null;
}

let showCurrent = () => {};

function showStatus({ status, code, delay = 0 }) {
  if (status === "connected") {
    showConnected();
  } else if (status === "connecting") {
    showCurrent = () => showPill("connecting", lostOnce ? "Trying again…" : "Connecting…");
    if (!graceTimer) showCurrent();
    if (!lostOnce) notices.clear(CONNECTION);
  } else if (status === "waiting") {
    const retryAt = Date.now() + delay;
    showCurrent = () => showWaiting(retryAt);
    if (lostOnce) showCurrent();
    else graceTimer ??= setTimeout(showLost, leaving ? LEAVING_GRACE_MS : GRACE_MS);
  } else if (code !== undefined) {
    showStopped(code);
  }
}

realtime.on(":status", showStatus);
realtime.on(":open", ({ userId }) => {
  // For example a page from the browser's history, after a logout.
  signedOut = String(userId) !== me.id;
  if (signedOut) realtime.disconnect();
});
// Of the user, of the role, or of a room of this page: one notice is enough.
realtime.on(":gap", () => {
  notices.show("gap", {
    level: "warning",
    sign: "clock",
    title: "You may have missed something",
    body: "The server no longer has all that was sent while this page was away.",
    actions: [{ label: "Close", run: () => notices.clear("gap") }],
  });
});
window.addEventListener("beforeunload", () => {
  leaving = true;
  // A download leaves the page where it is.
  setTimeout(() => {
    leaving = false;
  }, LEAVING_GRACE_MS);
});
// Sent only if several processes serve the demo.
realtime.on("process", ({ payload }) => {
  server.textContent = `to process ${payload.id}`;
});
