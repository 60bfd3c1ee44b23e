const TICK_MS = 1_000;
const SLEEP_GAP_MS = 5_000;

/**
 * Observes events that may break the connection. Returns a function that ends this.
 *
 * `onWake()`: the page is awake, visible or online again. `onOffline()`: the network is gone.
 * `onHide()`: the user leaves the page; if it comes back, `onWake()` says so. Outside a page
 * nothing is observed.
 *
 * No event tells that the machine slept, and timers may stand still meanwhile. A clock therefore
 * looks for gaps in time. Hidden tabs have slow timers, so their gaps do not count.
 */
export function observePage({ onWake, onOffline, onHide }) {
  const { document } = globalThis;
  if (!document) return () => {};
  let seenAt = Date.now();

  const whenVisible = () => document.visibilityState !== "hidden" && onWake();

  const clock = setInterval(() => {
    const gap = Date.now() - seenAt;
    seenAt = Date.now();
    if (gap > SLEEP_GAP_MS) whenVisible();
  }, TICK_MS);

  const listeners = [
    [globalThis, "online", onWake],
    [globalThis, "offline", onOffline],
    [globalThis, "pagehide", onHide],
    [globalThis, "pageshow", ({ persisted }) => persisted && onWake()],
    [document, "resume", onWake],
    [document, "visibilitychange", whenVisible],
  ];
  for (const [target, type, listener] of listeners) target.addEventListener(type, listener);

  return () => {
    clearInterval(clock);
    for (const [target, type, listener] of listeners) target.removeEventListener(type, listener);
  };
}
