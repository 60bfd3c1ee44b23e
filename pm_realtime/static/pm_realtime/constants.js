/** Names and numbers of the wire protocol, version 1. */

export const MessageType = Object.freeze({
  PING: "ping",
  PONG: "pong",
  CONNECTED: "connected",
  SUBSCRIBE: "subscribe",
  SUBSCRIBED: "subscribed",
  UNSUBSCRIBE: "unsubscribe",
  UNSUBSCRIBED: "unsubscribed",
  MESSAGE: "message",
  NOTIFICATION: "notification",
  BROADCAST: "broadcast",
  ERROR: "error",
});

/** `payload.code` of an `error` envelope. */
export const ErrorCode = Object.freeze({
  PARSE_ERROR: "PARSE_ERROR",
  INVALID_MESSAGE: "INVALID_MESSAGE",
  UNKNOWN_TYPE: "UNKNOWN_TYPE",
  INVALID_PAYLOAD: "INVALID_PAYLOAD",
  INVALID_ROOM: "INVALID_ROOM",
  AUTH_REQUIRED: "AUTH_REQUIRED",
  FORBIDDEN: "FORBIDDEN",
  NOT_IN_ROOM: "NOT_IN_ROOM",
  ROOM_LIMIT: "ROOM_LIMIT",
  ROOM_FULL: "ROOM_FULL",
  RATE_LIMITED: "RATE_LIMITED",
  MESSAGE_TOO_LARGE: "MESSAGE_TOO_LARGE",
  INTERNAL_ERROR: "INTERNAL_ERROR",
});

/** The codes of `ErrorCode` after which the same command may succeed later. */
export const TEMPORARY_ERRORS = Object.freeze([
  ErrorCode.ROOM_FULL,
  ErrorCode.RATE_LIMITED,
  ErrorCode.INTERNAL_ERROR,
]);

/** `code` of a rejection that this client decided on itself; never on the wire. */
export const LocalErrorCode = Object.freeze({
  /** Not connected, and not trying to be. */
  NOT_CONNECTED: "NOT_CONNECTED",
  /** The connection went away after sending and before the reply: it may have arrived, or not. */
  CONNECTION_LOST: "CONNECTION_LOST",
  /** Connected, and no reply in time. */
  TIMEOUT: "TIMEOUT",
  /** Too much is waiting for a connection already. */
  QUEUE_FULL: "QUEUE_FULL",
  /** `unsubscribe` came before the answer to `subscribe`. */
  CANCELLED: "CANCELLED",
});

export const CloseCode = Object.freeze({
  NORMAL: 1000,
  GOING_AWAY: 1001,
  ABNORMAL: 1006,
  SERVICE_RESTART: 1012,
  TRY_AGAIN_LATER: 1013,
  HEARTBEAT_LOST: 4001,
  TOO_SLOW: 4002,
  RATE_LIMITED: 4003,
  RESTARTING: 4012,
  OVERLOADED: 4013,
  SESSION_ENDED: 4501,
  REPLACED: 4502,
  DISCONNECTED: 4503,
  USER_GONE: 4504,
  TOO_MANY_CONNECTIONS: 4505,
});

/**
 * Whether a client may come back by itself after a close it did not ask for.
 * 1000 counts: daphne ends connections so after its `--websocket_timeout`.
 */
export function mayReconnect(code) {
  if (code === 1002 || code === 1003) return false;
  if (code >= 1007 && code <= 1010) return false;
  return !(code >= 4500 && code <= 4999);
}
