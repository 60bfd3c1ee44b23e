/** A document for Vue, which looks for one when it is loaded: import this before Vue. */
import "./packages.js";

const { Window } = await import("happy-dom");
const window = new Window({ url: "https://site.test/page/" });
const names = ["document", "location", "Node", "Element", "HTMLElement", "SVGElement"];
for (const name of [...names, "ShadowRoot", "MutationObserver"]) globalThis[name] = window[name];
globalThis.window = globalThis;
globalThis.addEventListener = window.addEventListener.bind(window);
globalThis.removeEventListener = window.removeEventListener.bind(window);

export const { document } = globalThis;
