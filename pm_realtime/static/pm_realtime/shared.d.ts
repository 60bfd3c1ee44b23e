import type { Socket, SocketOptions } from "./socket.js";

/** Whether this browser, on this page, has what tabs need to share a socket. */
export declare function canShare(page?: typeof globalThis): boolean;

/** This tab's part in the socket of all tabs, with the face of `openSocket`. */
export declare function joinSocket(
  options: SocketOptions & { shared: true | string },
  page?: typeof globalThis,
): Socket;
