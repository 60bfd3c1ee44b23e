// Written by constants.py from pm_realtime.protocol: change that, not this.

/** The WebSocket subprotocol that a client may ask for. */
export declare const SUBPROTOCOL: "pm-realtime.v1";
/** The same, but a frame from the server may also hold an array of envelopes. */
export declare const BATCH_SUBPROTOCOL: "pm-realtime.v1.batch";

/** The types the protocol itself defines; a site may push any other. */
export declare const MessageType: {
  readonly PING: "ping";
  readonly PONG: "pong";
  readonly CONNECTED: "connected";
  readonly SUBSCRIBE: "subscribe";
  readonly SUBSCRIBED: "subscribed";
  readonly UNSUBSCRIBE: "unsubscribe";
  readonly UNSUBSCRIBED: "unsubscribed";
  readonly MESSAGE: "message";
  readonly NOTIFICATION: "notification";
  readonly BROADCAST: "broadcast";
  readonly ERROR: "error";
  readonly ACK: "ack";
  readonly GAP: "gap";
  readonly RESULT: "result";
  readonly PRESENCE: "presence";
};
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** `payload.code` of an `error` envelope. */
export declare const ErrorCode: {
  readonly PARSE_ERROR: "PARSE_ERROR";
  readonly INVALID_MESSAGE: "INVALID_MESSAGE";
  readonly UNKNOWN_TYPE: "UNKNOWN_TYPE";
  readonly INVALID_PAYLOAD: "INVALID_PAYLOAD";
  readonly INVALID_ROOM: "INVALID_ROOM";
  readonly AUTH_REQUIRED: "AUTH_REQUIRED";
  readonly FORBIDDEN: "FORBIDDEN";
  readonly NOT_IN_ROOM: "NOT_IN_ROOM";
  readonly ROOM_LIMIT: "ROOM_LIMIT";
  /** May succeed later. */
  readonly ROOM_FULL: "ROOM_FULL";
  /** May succeed later. */
  readonly RATE_LIMITED: "RATE_LIMITED";
  readonly MESSAGE_TOO_LARGE: "MESSAGE_TOO_LARGE";
  /** May succeed later. */
  readonly TIMEOUT: "TIMEOUT";
  /** May succeed later. */
  readonly INTERNAL_ERROR: "INTERNAL_ERROR";
};
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** The codes of `ErrorCode` after which the same command may succeed later. */
export declare const TEMPORARY_ERRORS: readonly ["ROOM_FULL", "RATE_LIMITED", "TIMEOUT", "INTERNAL_ERROR"];

/** The codes with which the server closes a connection. */
export declare const CloseCode: {
  /** The client reconnects by itself. */
  readonly HEARTBEAT_LOST: 4001;
  /** The client reconnects by itself. */
  readonly TOO_SLOW: 4002;
  /** The client reconnects by itself. */
  readonly RATE_LIMITED: 4003;
  /** The client reconnects by itself. */
  readonly RESTARTING: 4012;
  /** The client reconnects by itself. */
  readonly OVERLOADED: 4013;
  /** The client does not reconnect. */
  readonly SESSION_ENDED: 4501;
  /** The client does not reconnect. */
  readonly REPLACED: 4502;
  /** The client does not reconnect. */
  readonly DISCONNECTED: 4503;
  /** The client does not reconnect. */
  readonly USER_GONE: 4504;
  /** The client does not reconnect. */
  readonly TOO_MANY_CONNECTIONS: 4505;
};
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

/** Says if a client may reconnect by itself after a close that it did not ask for. */
export declare function mayReconnect(code: number): boolean;
