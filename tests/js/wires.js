/** Sockets between a client and the fake server, on which nothing moves by itself. */

const [CONNECTING, OPEN, CLOSED] = [0, 1, 3];
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Random numbers that a seed repeats. */
export function seeded(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A WebSocket class; `wires` are its sockets. The test moves one frame with `receive`, `transmit`. */
export function wiredTo(server, random) {
  const wires = [];

  class Wire extends EventTarget {
    readyState = CONNECTING;
    #inbox = [];
    #outbox = [];

    constructor(url, protocols) {
      super();
      this.far = new server.WebSocket(url, protocols);
      for (const type of ["open", "message", "close"]) {
        this.far.addEventListener(type, ({ data }) => this.#inbox.push({ type, data }));
      }
      wires.push(this);
    }

    send(text) {
      if (this.readyState === OPEN) this.#outbox.push(text);
    }

    close() {
      this.#end();
    }

    receive() {
      const { type, data } = this.#inbox.shift() ?? {};
      if (!type || this.readyState === CLOSED) return;
      if (type === "open") this.readyState = OPEN;
      if (type === "close") this.readyState = CLOSED;
      this.dispatchEvent(Object.assign(new Event(type), { data, code: 1006, reason: "" }));
    }

    transmit() {
      if (this.#outbox.length > 0) this.far.send(this.#outbox.shift());
    }

    /** Some of what the client has sent arrives, and nothing of what the server has sent. */
    cut() {
      if (this.readyState === CLOSED) return;
      const arriving = Math.floor(random() * (this.#outbox.length + 1));
      for (let count = 0; count < arriving; count += 1) this.transmit();
      setImmediate(() => {
        if (this.readyState === CLOSED) return;
        this.#end();
        this.dispatchEvent(Object.assign(new Event("close"), { code: 1006, reason: "" }));
      });
    }

    #end() {
      this.readyState = CLOSED;
      this.far.close(1006);
      this.#inbox = [];
      this.#outbox = [];
    }
  }

  return { WebSocket: Wire, wires };
}
