const TICK_MS = 1_000;
const SLEEP_GAP_MS = 5_000;

/**
 * Observes events that may break the connection. Returns a function that ends this.
 *
 * `onWake({ shown, online })`: the page is awake. `shown`: it was hidden and is visible now;
 * `online`: the network is back. `onOffline()`: the network is gone. `onHide()`: the user leaves the
 * page; if it comes back, `onWake` says so. Outside a page nothing is observed.
 *
 * No event tells that the machine slept, and timers may stand still meanwhile. A clock therefore
 * looks for gaps in time. Hidden tabs have slow timers, so their gaps do not count.
 */
export function observePage({ onWake, onOffline, onHide }) {
  const { document } = globalThis;
  if (!document) return () => {};
  let seenAt = Date.now();
  const isHidden = () => document.visibilityState === "hidden";
  let wasHidden = isHidden();

  function onVisibility() {
    const shown = wasHidden;
    wasHidden = isHidden();
    if (!wasHidden) onWake({ shown });
  }

  const clock = setInterval(() => {
    const gap = Date.now() - seenAt;
    seenAt = Date.now();
    if (gap > SLEEP_GAP_MS && !isHidden()) onWake({});
  }, TICK_MS);

  const listeners = [
    [globalThis, "online", () => onWake({ online: true })],
    [globalThis, "offline", onOffline],
    [globalThis, "pagehide", onHide],
    [globalThis, "pageshow", ({ persisted }) => persisted && onWake({ shown: true })],
    [document, "resume", () => onWake({})],
    [document, "visibilitychange", onVisibility],
  ];
  for (const [target, type, listener] of listeners) target.addEventListener(type, listener);

  return () => {
    clearInterval(clock);
    for (const [target, type, listener] of listeners) target.removeEventListener(type, listener);
  };
}

/** Says if the browser knows that it has no network. Only `false` is reliable. */
export const isOffline = () => globalThis.navigator?.onLine === false;

/**
 * The address that the client's own `url` is relative to; undefined outside a page. It is always on
 * the page's host: not on that of a `<base>`, which may be a CDN. Frames with `srcdoc`, empty
 * pop-ups and `blob:` pages belong to the page that made them.
 */
export function pageAddress() {
  const { location, origin, document } = globalThis;
  const base = document?.baseURI;
  const own = [location?.href, origin, location?.origin, base].find(isOfWeb);
  return own && isOfWeb(base) && new URL(base).origin === new URL(own).origin ? base : own;
}

/** False while a page is rendered on a server: there a path leads nowhere. */
export const hasAddress = (url) => Boolean(pageAddress() ?? /^\w+:/.test(url));

const isOfWeb = (address) => /^https?:/.test(address);
