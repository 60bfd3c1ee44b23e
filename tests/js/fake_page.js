/** A page around the client: the test fires its events and counts its listeners. */
export function fakePage(t) {
  const target = new EventTarget();
  const document = new EventTarget();
  let listeners = 0;
  for (const each of [target, document]) {
    const { addEventListener, removeEventListener } = each;
    each.addEventListener = (...args) => {
      listeners += 1;
      addEventListener.apply(each, args);
    };
    each.removeEventListener = (...args) => {
      listeners -= 1;
      removeEventListener.apply(each, args);
    };
  }
  const navigator = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const setOnLine = (onLine) =>
    Object.defineProperty(globalThis, "navigator", { value: { onLine }, configurable: true });
  setOnLine(true);
  document.visibilityState = "visible";
  globalThis.document = document;
  globalThis.addEventListener = target.addEventListener;
  globalThis.removeEventListener = target.removeEventListener;
  t.after(() => {
    delete globalThis.document;
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
    if (navigator) Object.defineProperty(globalThis, "navigator", navigator);
    else delete globalThis.navigator;
  });
  return {
    get listeners() {
      return listeners;
    },
    /** Fires an event of the window. */
    window: (type, rest) => target.dispatchEvent(Object.assign(new Event(type), rest)),
    online() {
      setOnLine(true);
      target.dispatchEvent(new Event("online"));
    },
    offline() {
      setOnLine(false);
      target.dispatchEvent(new Event("offline"));
    },
    setOnLine,
    resume: () => document.dispatchEvent(new Event("resume")),
    show(visibilityState) {
      document.visibilityState = visibilityState;
      document.dispatchEvent(new Event("visibilitychange"));
    },
  };
}
