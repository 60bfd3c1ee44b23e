/** The form below the messages. A text that was refused goes back into the field. */

import { ErrorCode, LocalErrorCode } from "../pm_realtime/client.js";
import { createNotices } from "./notices.js";

const COUNT_FROM = 200;
/** An answer usually comes sooner, so that nothing needs to say that a message waits. */
const USUAL_ANSWER_MS = 500;
const GROWS_BY_ITSELF = CSS.supports("field-sizing", "content");

/**
 * `send(text)` returns a promise, and `isConnected()` says if the message goes out at once.
 * `showWaiting(text)` shows a message that waits, and returns a function that removes it.
 * `onText(text)` is called with each change of the text.
 *
 * The form works without a connection: the client keeps the messages, and sends them in order.
 */
export function createComposer(form, { send, isConnected, showWaiting, onText }) {
  const input = form.querySelector("textarea");
  const button = form.querySelector("[type=submit]");
  const count = form.querySelector("[data-count]");
  const notices = createNotices(form.querySelector("[data-composer-notices]"));
  let allowed = true;
  let slowed = false;
  let returned = [];

  function refresh() {
    input.disabled = !allowed;
    button.disabled = !allowed || slowed || !input.value.trim();
    input.placeholder = allowed ? "Write a message" : "You can write once you are in the room";
    const left = input.maxLength - input.value.length;
    count.textContent = left <= COUNT_FROM ? `${left} characters left` : "";
    if (!GROWS_BY_ITSELF) growToFit();
  }

  function growToFit() {
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight + input.offsetHeight - input.clientHeight}px`;
  }

  /** Several may come back together, and keep their order. */
  function giveBack(text) {
    returned.push(text);
    if (returned.length > 1) return;
    setTimeout(() => {
      input.value = [...returned, input.value].filter(Boolean).join("\n");
      returned = [];
      refresh();
    });
  }

  function slowDown(milliseconds) {
    slowed = true;
    refresh();
    notices.show("slow-down", {
      level: "warning",
      sign: "clock",
      title: "Slow down: you can send again",
      wait: milliseconds,
      waited() {
        slowed = false;
        notices.clear("slow-down");
        refresh();
      },
      body: "The server takes a limited number of messages per minute. Your text is kept.",
    });
  }

  function explain(error) {
    if (error.code === ErrorCode.RATE_LIMITED) {
      slowDown(error.retryAfter ?? 5000);
    } else if (error.code === LocalErrorCode.CONNECTION_LOST || error.code === LocalErrorCode.TIMEOUT) {
      notices.show("not-sent", {
        level: "warning",
        title: "Your last message may not have arrived",
        body: "Its text is back in the field. Look above before you send it again.",
      });
    } else {
      notices.show("not-sent", {
        level: "error",
        title: "Your message was not sent",
        body: error.message,
      });
    }
  }

  async function submit() {
    const text = input.value.trim();
    if (!text || button.disabled) return;
    input.value = "";
    onText("");
    notices.clear("not-sent");
    refresh();
    let remove = () => {};
    const show = () => {
      remove = showWaiting(text);
    };
    const timer = setTimeout(show, isConnected() ? USUAL_ANSWER_MS : 0);
    try {
      await send(text);
      // An earlier message may have failed meanwhile.
      notices.clear("not-sent");
    } catch (error) {
      giveBack(text);
      explain(error);
    } finally {
      clearTimeout(timer);
      remove();
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
    input.focus();
  });

  input.addEventListener("input", () => {
    refresh();
    onText(input.value);
  });

  input.addEventListener("keydown", (event) => {
    // In an input method, Enter accepts the suggestion.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });

  refresh();

  return {
    /** Whether a message may be written, now or for later. */
    setAllowed(value) {
      allowed = value;
      refresh();
    },

    focus() {
      // Never take the focus from another element, and do not open an on-screen keyboard.
      const nowhere = document.activeElement === document.body;
      if (nowhere && matchMedia("(pointer: fine)").matches) input.focus();
    },
  };
}
