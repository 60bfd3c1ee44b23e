/** A browser whose tabs share a socket, and the server's end of that. */
import { createRealtime } from "../../pm_realtime/browser/client.js";
import { fakeBrowser, rest } from "./fake_tabs.js";

/**
 * A browser with fake timers; `tick(ms)` also lets its tabs run. `options` are those of its fake
 * server, which does nothing by itself unless it is `automatic`.
 */
export function createBrowser(t, options) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_700_000_000_000 });
  const browser = fakeBrowser(options);
  const tick = async (ms) => {
    for (let past = 0; past < ms; past += 500) {
      t.mock.timers.tick(Math.min(500, ms - past));
      await rest();
    }
  };
  return { browser, tick };
}

/** Opens `count` tabs, each with a client in the rooms, on one accepted socket. */
export async function tabsIn(browser, count, rooms = []) {
  const tabs = Array.from({ length: count }, () => browser.tab());
  const clients = [];
  for (const tab of tabs) {
    const client = tab.join();
    client.rooms = rooms;
    clients.push(client);
    await rest();
    if (browser.sockets.length === 1 && tab === tabs[0]) await accept(browser);
  }
  await answerAll(browser.WebSocket.last);
  return { tabs, clients, server: browser.WebSocket.last };
}

/** Opens `count` tabs of an automatic server, each with a client in the rooms. */
export async function openTabs(browser, count, rooms = []) {
  const tabs = Array.from({ length: count }, () => browser.tab());
  const clients = [];
  for (const tab of tabs) {
    const client = tab.join();
    client.rooms = rooms;
    clients.push(client);
    await rest();
  }
  return { tabs, clients };
}

/** Clients of this page, which acts as one of the fake tabs. */
export async function clientsIn(t, { navigator, BroadcastChannel, WebSocket }, count, given = {}) {
  for (const [name, value] of Object.entries({ navigator, BroadcastChannel })) {
    const real = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    t.after(() => {
      delete globalThis[name];
      if (real) Object.defineProperty(globalThis, name, real);
    });
  }
  const options = { url: "ws://site.test/", shared: "anna", WebSocket, ...given };
  const clients = Array.from({ length: count }, () => createRealtime(options));
  for (const client of clients) client.connect();
  await rest();
  return clients;
}

/** The server accepts the newest socket. */
export async function accept(browser, payload) {
  browser.WebSocket.last.accept({ connectionId: `c${browser.sockets.length}`, ...payload });
  await rest();
}

/** The server grants each `subscribe` that it has not answered yet. */
export async function answerAll(server) {
  server.answered ??= new Set();
  for (const command of server.sentOf("subscribe")) {
    if (server.answered.has(command.id)) continue;
    server.answered.add(command.id);
    server.reply(command, "subscribed", { room: command.payload.room, success: true });
  }
  await rest();
}

/** The ids of the messages that a client got. */
export const ids = (client, type = "message") => client.of(type).map(({ id }) => id);

/** What the newest socket asks for: the `resume` and `since` of its query. */
export function lastAsked(browser) {
  const query = new URL(browser.WebSocket.last.url).searchParams;
  const [resume, since] = [query.get("resume"), query.get("since")];
  return { ...(resume && { resume }), ...(since && { since: JSON.parse(since) }) };
}

/** The payloads of the `news` that a client got. */
export const numbers = (client) => client.of("news").map(({ payload }) => payload);
