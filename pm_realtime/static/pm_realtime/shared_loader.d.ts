import type { Socket, SocketOptions } from "./socket.js";

/** `openSocket` for tabs that share one socket; the code for it is loaded with the first. */
export declare function openShared(
  options: SocketOptions & { shared: true | string },
  load?: () => Promise<{ joinSocket(options: SocketOptions): Socket }>,
): Socket;
