const KEY = Symbol.for("pm_realtime");

/** The data of the script tag `{% realtime_client %}`. Tests may have a page with half a document. */
const tagData = () =>
  globalThis.document?.querySelector?.("script[data-pm-realtime]")?.dataset ?? {};

/**
 * The one client of this page, not connected. The options of the first call count.
 *
 * It is kept at a symbol of the page and not in this module: if files have hashed names, a page may
 * load the module twice.
 */
export function pageRealtime(createRealtime, options) {
  globalThis[KEY] ??= createRealtime({ ...options, autoConnect: false });
  return globalThis[KEY];
}

/** Starts the page's client if the page has the tag `{% realtime_client %}`. */
export function startFromTag(createRealtime) {
  const { document } = globalThis;
  if (tagData().pmRealtime) {
    startPage(createRealtime);
  } else if (document?.readyState === "loading") {
    // An async module may run before the parser has come to the tag.
    document.addEventListener("DOMContentLoaded", () => {
      if (tagData().pmRealtime) startPage(createRealtime, true);
    });
  }
}

/** The page's client with the options in the tag. The first call announces and connects it. */
export function startPage(createRealtime, isParsed = document.readyState === "complete") {
  const { pmRealtime, pmShared } = tagData();
  const { autoConnect, ...options } = JSON.parse(pmRealtime ?? "{}");
  // JSON has no word for infinity.
  if (options.maxReconnectAttempts === null) options.maxReconnectAttempts = Infinity;
  if (pmShared) options.sharedModule = new URL(pmShared, document.baseURI).href;
  const realtime = pageRealtime(createRealtime, options);
  if (window.realtimeReady?.then) return realtime;

  window.realtime = realtime;
  const ready = Promise.resolve(realtime);
  // Scripts of any kind may come before this one, with an array in its place.
  ready.push = (...handlers) => handlers.forEach((handler) => ready.then(handler));
  if (Array.isArray(window.realtimeReady)) ready.push(...window.realtimeReady);
  window.realtimeReady = ready;
  document.dispatchEvent(new CustomEvent("realtime:ready", { detail: realtime }));

  if (autoConnect) {
    const connect = () => realtime.closeCode === null && realtime.connect();
    if (isParsed) ready.push(connect);
    // After the page's other scripts have run, so that their handlers miss nothing.
    document.addEventListener("DOMContentLoaded", connect);
    window.addEventListener("load", connect);
  }
  return realtime;
}
