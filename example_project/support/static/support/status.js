/** The status of the connection: the pill beside the heading, and a notice if something is wrong. */

import { CloseCode } from "../pm_realtime/client.js";
import { countdown } from "./dom.js";
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
    pill: "Disconnected",
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
  pill: "Disconnected",
  level: "error",
  sign: "offline",
  title: "Disconnected",
  body: "The connection could not be made.",
  actions: [{ label: "Try again", run: connect, main: true }],
};

let stopCountdown = () => {};
let lostOnce = false;

function showPill(state, text) {
  stopCountdown();
  pill.hidden = false;
  pill.dataset.state = state;
  // Screen readers announce every assignment, so an unchanged text is not set again.
  if (label.textContent !== text) label.textContent = text;
  seconds.textContent = "";
  server.textContent = "";
}

function showStatus({ status, code, delay }) {
  if (status === "connected") {
    lostOnce = false;
    showPill("connected", "Connected");
    notices.clear(CONNECTION);
  } else if (status === "connecting") {
    showPill("connecting", lostOnce ? "Trying again…" : "Connecting…");
    if (!lostOnce) notices.clear(CONNECTION);
  } else if (status === "waiting") {
    // The user leaves the page. It connects again on return.
    if (delay === undefined) return;
    lostOnce = true;
    showPill("waiting", "Disconnected, trying again");
    stopCountdown = countdown(delay, (left) => {
      seconds.textContent = `in ${left} s`;
    });
    if (!notices.has(CONNECTION)) {
      notices.show(CONNECTION, {
        level: "error",
        sign: "offline",
        title: "Disconnected, trying again",
        body: "Nothing new arrives for now. This page reconnects by itself; what you typed is kept.",
        actions: [{ label: "Try now", run: connect }],
      });
    }
  } else if (code !== undefined) {
    lostOnce = false;
    const { state, pill: text, ...notice } = ENDINGS[code] ?? STOPPED;
    showPill(state, text);
    notices.show(CONNECTION, notice);
  }
}

realtime.on(":status", showStatus);
// Sent only if several processes serve the demo.
realtime.on("process", ({ payload }) => {
  server.textContent = `to process ${payload.id}`;
});
