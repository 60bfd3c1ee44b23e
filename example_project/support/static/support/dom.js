/** Helpers to build elements. Text is always inserted as text, never as markup. */

const ICONS = new URL("./icons.svg", import.meta.url).href;
const SVG = "http://www.w3.org/2000/svg";

/** Creates an element. `attributes` may have `text` and `on*` handlers. Null children are skipped. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name, className = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dated = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** An element with the time of day, of another day with its date, and the full date in its title. */
export function timeOf(moment) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return null;
  const shown = date.toDateString() === new Date().toDateString() ? clock : dated;
  return el("time", { datetime: date.toISOString(), title: full.format(date), text: shown.format(date) });
}

/** Calls `show(secondsLeft)` at once and each second, then `done()`. Returns a function that stops it. */
export function countdown(milliseconds, show, done = () => {}) {
  const end = Date.now() + milliseconds;
  let timer;
  function tick() {
    const left = end - Date.now();
    if (left <= 0) {
      done();
      return;
    }
    show(Math.ceil(left / 1000));
    timer = setTimeout(tick, left % 1000 || 1000);
  }
  tick();
  return () => clearTimeout(timer);
}
