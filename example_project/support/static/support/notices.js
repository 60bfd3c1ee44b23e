import { countdown, el, icon } from "./dom.js";

/** The notices in one element, at most one of each kind. */
export function createNotices(host) {
  const shown = new Map();

  function clear(...kinds) {
    for (const kind of kinds) {
      shown.get(kind)?.();
      shown.delete(kind);
    }
  }

  /**
   * Shows a notice, and replaces the one of the same kind. `wait` (ms) is a countdown behind the
   * title, hidden from screen readers. `waited` is called at its end.
   */
  function show(kind, notice) {
    clear(kind);
    const { level = "info", sign = level, large = false, body, detail, actions = [] } = notice;
    const left = el("span", { "aria-hidden": "true" });
    const element = el(
      "div",
      {
        class: `notice notice-${level}${large ? " notice-large" : ""}`,
        role: level === "error" ? "alert" : "status",
        "data-testid": "notice",
        "data-kind": kind,
      },
      icon(sign),
      el(
        "div",
        { class: "notice-main" },
        el(
          "div",
          { class: "notice-text" },
          el("p", { class: "notice-title" }, notice.title, left),
          body ? el("p", { class: "notice-body", text: body }) : null,
          detail ? el("p", { class: "notice-detail", text: detail }) : null,
        ),
        actions.length ? el("div", { class: "notice-actions" }, ...actions.map(action)) : null,
      ),
    );
    host.append(element);
    let stop = () => {};
    shown.set(kind, () => {
      stop();
      element.remove();
    });
    if (notice.wait !== undefined) {
      stop = countdown(
        notice.wait,
        (seconds) => {
          left.textContent = ` in ${seconds} s`;
        },
        notice.waited,
      );
    }
  }

  return { show, clear, has: (kind) => shown.has(kind) };
}

function action({ label, href, run, main = false }) {
  const look = main ? "button" : "button button-quiet";
  if (href) return el("a", { class: look, href, text: label });
  return el("button", {
    class: look,
    type: "button",
    text: label,
    onclick: run,
    "data-testid": "notice-action",
  });
}
