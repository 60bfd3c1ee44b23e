/** The form below the messages. A text that cannot be sent goes back into the field. */

import { ErrorCode, LocalErrorCode } from "../pm_realtime/client.js";
import { createNotices } from "./notices.js";

const COUNT_FROM = 200;
const GROWS_BY_ITSELF = CSS.supports("field-sizing", "content");

/** `send(text)` returns a promise. The form is enabled while the room is joined. */
export function createComposer(form, send) {
  const input = form.querySelector("textarea");
  const button = form.querySelector("[type=submit]");
  const count = form.querySelector("[data-count]");
  const notices = createNotices(form.querySelector("[data-composer-notices]"));
  let joined = false;
  let slowed = false;

  function refresh() {
    input.disabled = !joined;
    button.disabled = !joined || slowed || !input.value.trim();
    input.placeholder = joined ? "Write a message" : "You can write once you are in the room";
    const left = input.maxLength - input.value.length;
    count.textContent = left <= COUNT_FROM ? `${left} characters left` : "";
    if (!GROWS_BY_ITSELF) growToFit();
  }

  function growToFit() {
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight + input.offsetHeight - input.clientHeight}px`;
  }

  function giveBack(text) {
    input.value = [text, input.value].filter(Boolean).join("\n");
    refresh();
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
    notices.clear("not-sent");
    refresh();
    try {
      await send(text);
      // An earlier message may have failed meanwhile.
      notices.clear("not-sent");
    } catch (error) {
      giveBack(text);
      explain(error);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
    input.focus();
  });

  input.addEventListener("input", refresh);

  input.addEventListener("keydown", (event) => {
    // In an input method, Enter accepts the suggestion.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });

  refresh();

  return {
    setJoined(value) {
      if (value === joined) return;
      joined = value;
      refresh();
      // Never take the focus from another element, and do not open an on-screen keyboard.
      const nowhere = document.activeElement === document.body;
      if (joined && nowhere && matchMedia("(pointer: fine)").matches) input.focus();
    },
  };
}
