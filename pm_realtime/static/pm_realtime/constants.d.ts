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
  readonly ROOM_FULL: "ROOM_FULL";
  readonly RATE_LIMITED: "RATE_LIMITED";
  readonly MESSAGE_TOO_LARGE: "MESSAGE_TOO_LARGE";
  readonly INTERNAL_ERROR: "INTERNAL_ERROR";
};
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** The codes of `ErrorCode` after which the same command may succeed later. */
export declare const TEMPORARY_ERRORS: readonly ErrorCode[];

/** `code` of a rejection that this client decided on itself; never on the wire. */
export declare const LocalErrorCode: {
  /** Not connected, and not trying to be. */
  readonly NOT_CONNECTED: "NOT_CONNECTED";
  /** The connection went away after sending and before the reply: it may have arrived, or not. */
  readonly CONNECTION_LOST: "CONNECTION_LOST";
  /** Connected, and no reply in time. */
  readonly TIMEOUT: "TIMEOUT";
  /** Too much is waiting for a connection already. */
  readonly QUEUE_FULL: "QUEUE_FULL";
  /** `unsubscribe` came before the answer to `subscribe`. */
  readonly CANCELLED: "CANCELLED";
};
export type LocalErrorCode = (typeof LocalErrorCode)[keyof typeof LocalErrorCode];

export declare const CloseCode: {
  readonly NORMAL: 1000;
  readonly GOING_AWAY: 1001;
  readonly ABNORMAL: 1006;
  readonly SERVICE_RESTART: 1012;
  readonly TRY_AGAIN_LATER: 1013;
  /** No heartbeat: sent by the server, and used by this client for a server that fell silent. */
  readonly HEARTBEAT_LOST: 4001;
  /** This client reads too slowly. */
  readonly TOO_SLOW: 4002;
  /** The rate limit was broken again and again. */
  readonly RATE_LIMITED: 4003;
  readonly RESTARTING: 4012;
  readonly OVERLOADED: 4013;
  /** The Django session ended, or there is none where the site wants one. */
  readonly SESSION_ENDED: 4501;
  /** Pushed out by a newer connection of the same user. */
  readonly REPLACED: 4502;
  /** Disconnected by the site. */
  readonly DISCONNECTED: 4503;
  /** The user was deactivated or deleted. */
  readonly USER_GONE: 4504;
  /** Refused: the user has as many connections as the site allows. */
  readonly TOO_MANY_CONNECTIONS: 4505;
};

/** Whether a client may come back by itself after a close it did not ask for. */
export declare function mayReconnect(code: number): boolean;
