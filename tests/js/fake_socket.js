/** A stand-in for the browser's WebSocket, with the server's end in the test's hands. */
export function fakeWebSocket() {
  return class FakeWebSocket extends EventTarget {
    static all = [];

    static get last() {
      return this.all.at(-1);
    }

    constructor(url) {
      super();
      this.url = url;
      this.sent = [];
      this.closedWith = null;
      this.constructor.all.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.closedWith = code;
    }

    /** The frames of one type that the client sent. */
    sentOf(type) {
      return this.sent.filter((envelope) => envelope.type === type);
    }

    get lastSent() {
      return this.sent.at(-1);
    }

    /** The server sends text. */
    text(data) {
      this.dispatchEvent(Object.assign(new Event("message"), { data }));
    }

    /** The server sends an envelope. */
    frame(type, payload, rest = {}) {
      this.text(JSON.stringify({ type, payload, timestamp: 1, ...rest }));
    }

    accept(payload = {}) {
      this.frame("connected", {
        userId: 7,
        connectionId: `c${this.constructor.all.length}`,
        role: "editor",
        heartbeatInterval: 30_000,
        heartbeatTimeout: 10_000,
        ...payload,
      });
    }

    /** The server answers a command. */
    reply(command, type, payload) {
      this.frame(type, payload, { id: command.id });
    }

    refuse(command, code, rest = {}) {
      this.reply(command, "error", { code, message: `refused: ${code}`, ...rest });
    }

    /** The connection ends from the other side. */
    drop(code = 1006, reason = "") {
      this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
    }
  };
}

/** Lets the handlers of settled promises run. */
export async function settled() {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
}
