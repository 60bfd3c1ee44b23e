const TICK = 1_000;
const GAP = 5_000;

export function watchPage({ onWake, onDoubt, onHide }) {
  const { document } = globalThis;
  if (!document) return () => {};
  let seenAt = Date.now();

  const whenVisible = () => document.visibilityState !== "hidden" && onWake();

  const clock = setInterval(() => {
    const unseen = Date.now() - seenAt;
    seenAt = Date.now();
    if (unseen > GAP) whenVisible();
  }, TICK);

  const listeners = [
    [globalThis, "online", onWake],
    [globalThis, "offline", onDoubt],
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
