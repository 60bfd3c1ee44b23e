// Written by constants.py from pm_realtime.protocol: change that, not this.

export const SUBPROTOCOL = "pm-realtime.v1";
export const BATCH_SUBPROTOCOL = "pm-realtime.v1.batch";

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
  ACK: "ack",
  GAP: "gap",
  RESULT: "result",
  PRESENCE: "presence",
});

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
  TIMEOUT: "TIMEOUT",
  INTERNAL_ERROR: "INTERNAL_ERROR",
});

export const TEMPORARY_ERRORS = Object.freeze(["ROOM_FULL", "RATE_LIMITED", "TIMEOUT", "INTERNAL_ERROR"]);

export const CloseCode = Object.freeze({
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

const FINAL_CLOSES = [[1002, 1003], [1007, 1010], [4500, 4999]];

export function mayReconnect(code) {
  return !FINAL_CLOSES.some(([first, last]) => first <= code && code <= last);
}
