import { joinSocket } from "../../pm_realtime/browser/shared.js";
import { fakeWebSocket } from "./fake_socket.js";

/** Lets everything run that waits for nothing but its turn. */
export async function rest() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Web Locks of one origin; `of(tab)` is what one tab sees of them. */
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
    queueMicrotask(() => request.tab.hearLate(call));
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
        robbed?.tab.hearLate(() => robbed.reject(new DOMException("stolen", "AbortError")));
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
      for (const [name, { tab: holder }] of [...held]) {
        if (holder !== tab) continue;
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

/** A browser whose tabs are of one origin, and the server's end of its sockets. */
export function fakeBrowser() {
  const locks = fakeLocks();
  const channels = new Set();
  const WebSocket = fakeWebSocket();
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
          queueMicrotask(() => other.tab.hear(() => channels.has(other) && other.onmessage?.({ data })));
        }
      }

      close() {
        channels.delete(this);
      }
    };
  }

  class FakeTab extends EventTarget {
    dead = false;
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
          tab.hear(() => super.dispatchEvent(event));
        }
      };
    }

    hear(run) {
      if (this.dead) return;
      if (this.#asleep) this.#asleep.push(run);
      else run();
    }

    /** After a sleep, this comes behind all else: so it is with the locks of Chromium. */
    hearLate(run) {
      if (this.#asleep) this.#late.push(run);
      else this.hear(run);
    }

    /** It hears nothing and, with `event` null, has not been told that it will not. */
    sleep(event = "freeze") {
      if (event) this.dispatchEvent(new Event(event));
      this.#asleep = [];
    }

    wake(event = "resume") {
      const runs = this.#asleep;
      this.#asleep = null;
      runs.forEach((run) => this.hear(run));
      setImmediate(() => this.#late.splice(0).forEach((run) => this.hear(run)));
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

    /** A client of this tab, with all it was told. */
    join(shared = "anna", url = "ws://site.test/") {
      const client = { connected: [], frames: [], closes: [], rooms: [], ready: 0 };
      client.socket = joinSocket(
        {
          url,
          shared,
          WebSocket: this.WebSocket,
          onConnected(envelope) {
            client.connected.push(envelope.payload);
            for (const room of client.rooms) client.say("subscribe", { room }, undefined, true);
          },
          onFrame: (envelope) => client.frames.push(envelope),
          onReady: () => { client.ready += 1; },
          onClose: (...why) => client.closes.push(why.filter((each) => each !== undefined)),
        },
        this,
      );
      client.say = (type, payload, id = `${type}-${Math.random()}`, urgent = false) =>
        client.socket.send({ type, payload, id, timestamp: 1 }, urgent);
      client.of = (type) => client.frames.filter((envelope) => envelope.type === type);
      return client;
    }
  }

  return {
    locks,
    WebSocket,
    said,
    channels,
    tab: () => new FakeTab(),
    get sockets() {
      return WebSocket.all;
    },
    /** The sockets that neither end has closed. */
    get open() {
      return WebSocket.all.filter(({ socket }) => socket.readyState < 2 && !socket.tab.dead);
    },
  };
}
