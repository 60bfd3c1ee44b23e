import { createRealtime } from "../../pm_realtime/browser/client.js";
import { createCursors } from "../../pm_realtime/browser/core/cursors.js";
import { joinSharedSocket } from "../../pm_realtime/browser/shared.js";
import { fakeWebSocket } from "./fake_socket.js";

const fakeTabs = (globalThis.fakeTabs = []);

/** Commands whose answer a client waits for. Messages are as those of `realtime.send`. */
const REPLIES = { subscribe: "subscribed", unsubscribe: "unsubscribed", ping: "pong" };

/** Lets all code run that waits for its turn only. */
export async function rest() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** The Web Locks of one origin; `of(tab)` are those of one tab. */
function fakeLocks() {
  const held = new Map();
  const queues = new Map();

  function grantNext(name) {
    if (held.has(name)) return;
    const next = queues.get(name)?.shift();
    if (next) grant(name, next);
  }

  function grant(name, request) {
    held.set(name, request);
    const call = async () => {
      request.resolve(await request.callback({ name }));
      if (held.get(name) !== request) return;
      held.delete(name);
      grantNext(name);
    };
    queueMicrotask(() => request.tab.runLate(call));
  }

  const drop = (name, request) => {
    queues.set(name, (queues.get(name) ?? []).filter((each) => each !== request));
  };

  function request(tab, name, options, callback) {
    return new Promise((resolve, reject) => {
      const one = { tab, callback, resolve, reject };
      if (tab.dead) return;
      if (options.steal) {
        const robbed = held.get(name);
        robbed?.tab.runLate(() => robbed.reject(new DOMException("stolen", "AbortError")));
        grant(name, one);
      } else if (options.ifAvailable && held.has(name)) {
        queueMicrotask(async () => resolve(await callback(null)));
      } else {
        options.signal?.addEventListener("abort", () => {
          drop(name, one);
          reject(new DOMException("aborted", "AbortError"));
        });
        queues.set(name, [...(queues.get(name) ?? []), one]);
        queueMicrotask(() => grantNext(name));
      }
    });
  }

  return {
    of: (tab) => ({
      request: (name, options, callback) => request(tab, name, options, callback),
      query: async () => ({
        held: [...held].map(([name, { tab: clientId }]) => ({ name, clientId })),
      }),
    }),

    release(tab) {
      for (const [name, queue] of queues) queues.set(name, queue.filter((each) => each.tab !== tab));
      for (const [name, { tab: other }] of [...held]) {
        if (other !== tab) continue;
        held.delete(name);
        grantNext(name);
      }
    },

    get names() {
      return [...held.keys()];
    },

    get waiting() {
      return [...queues.values()].flat().length;
    },
  };
}

/** A browser with tabs of one origin, and the server's end of their sockets. */
export function fakeBrowser(options) {
  const locks = fakeLocks();
  const channels = new Set();
  const WebSocket = fakeWebSocket(options);
  const said = [];

  function channelOf(tab) {
    return class FakeChannel {
      constructor(name) {
        Object.assign(this, { name, tab, onmessage: null });
        channels.add(this);
      }

      postMessage(message) {
        if (tab.dead) return;
        said.push(message);
        for (const other of channels) {
          if (other === this || other.name !== this.name) continue;
          const data = structuredClone(message);
          queueMicrotask(() => other.tab.run(() => channels.has(other) && other.onmessage?.({ data })));
        }
      }

      close() {
        channels.delete(this);
      }
    };
  }

  class FakeTab extends EventTarget {
    dead = false;
    /** What a client keeps over its connections. */
    position = { ids: [], user: undefined, cursors: createCursors() };
    document = { visibilityState: "visible" };
    #asleep = null;
    #late = [];

    constructor() {
      super();
      this.navigator = { locks: locks.of(this) };
      this.BroadcastChannel = channelOf(this);
      const tab = this;
      this.WebSocket = class extends WebSocket {
        constructor(...parameters) {
          super(...parameters);
          this.tab = tab;
        }

        dispatchEvent(event) {
          tab.run(() => super.dispatchEvent(event));
        }
      };
    }

    /** Node removes no listener that was added with `true` for `capture`. */
    removeEventListener(type, listener, capture = false) {
      super.removeEventListener(type, listener, { capture });
    }

    run(action) {
      if (this.dead) return;
      if (this.#asleep) this.#asleep.push(action);
      else action();
    }

    /** After a sleep this runs last, as events of locks do in Chromium. */
    runLate(action) {
      if (this.#asleep) this.#late.push(action);
      else this.run(action);
    }

    /** Nothing runs in it any more. With `event` null, no event told it so. */
    sleep(event = "freeze") {
      if (event) this.dispatchEvent(new Event(event));
      this.#asleep = [];
    }

    wake(event = "resume") {
      const actions = this.#asleep;
      this.#asleep = null;
      actions.forEach((action) => this.run(action));
      setImmediate(() => this.#late.splice(0).forEach((action) => this.run(action)));
      if (event) this.dispatchEvent(new Event(event));
    }

    /** It crashes. */
    kill() {
      this.dead = true;
      locks.release(this);
      for (const channel of channels) if (channel.tab === this) channels.delete(channel);
    }

    /** It is closed by its user. */
    hide() {
      this.dispatchEvent(new Event("pagehide"));
    }

    /** The client of a page in this tab. Its server is automatic. */
    connect(options) {
      // The module that a client loads for shared tabs.
      const module = `export const joinSharedSocket = (options) => globalThis.fakeTabs[${fakeTabs.length}](options);`;
      fakeTabs.push((found) => joinSharedSocket(found, this));
      return createRealtime({
        url: "ws://site.test/",
        WebSocket: this.WebSocket,
        shared: "anna",
        sharedModule: `data:text/javascript,${encodeURIComponent(module)}`,
        reconnectDelay: 1,
        autoConnect: true,
        ...options,
      });
    }

    /** A client of this tab, with everything that it was told and had not had before. */
    join(shared = "anna", url = "ws://site.test/") {
      const { position } = this;
      const { cursors } = position;
      const client = { connected: [], frames: [], closes: [], rooms: [], healthy: 0, cursors };
      client.socket = joinSharedSocket(
        {
          url,
          shared,
          WebSocket: this.WebSocket,
          readPosition() {
            const since = cursors.own();
            const isOfUse = Object.keys(since).length > 0;
            return { ids: position.ids, user: position.user, since: isOfUse ? since : undefined };
          },
          onConnected({ payload }) {
            client.connected.push(payload);
            position.ids = [...new Set([payload.connectionId, ...position.ids])];
            position.user = String(payload.userId ?? "");
            cursors.startOwn(payload);
            for (const room of client.rooms) client.subscribe(room);
          },
          onFrame(envelope) {
            const { type, payload } = envelope;
            if (type === "subscribed") cursors.startRoom(payload.room, payload);
            if (type === "gap") cursors.move(envelope);
            else if (cursors.has(envelope)) return;
            cursors.note(envelope);
            client.frames.push(envelope);
          },
          onHealthy: () => { client.healthy += 1; },
          onClose: (...why) => client.closes.push(why.filter((each) => each !== undefined)),
        },
        this,
      );
      client.subscribe = (room, id) =>
        client.say("subscribe", { room, since: cursors.room(room) }, id, true);
      client.say = (type, payload, id = `${type}-${Math.random()}`, urgent = false) =>
        client.socket.send({ type, payload, id, timestamp: 1 }, urgent, REPLIES[type]);
      client.of = (type) => client.frames.filter((envelope) => envelope.type === type);
      return client;
    }
  }

  return {
    locks,
    WebSocket,
    server: WebSocket.server,
    said,
    channels,
    tab: () => new FakeTab(),
    get sockets() {
      return WebSocket.all;
    },
    /** The sockets that are open at both ends. */
    get open() {
      return WebSocket.all.filter(({ socket }) => socket.readyState < 2 && !socket.tab.dead);
    },
  };
}
