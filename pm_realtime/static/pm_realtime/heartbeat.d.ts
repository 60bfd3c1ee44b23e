export interface HeartbeatOptions {
  interval: number;
  timeout: number;
  ping(): void;
  onSilence(): void;
}

export interface Heartbeat {
  alive(): void;
  check(): void;
  stop(): void;
}

/** Asks for a sign of life each `interval`; `onSilence` where none came within `timeout`. */
export declare function createHeartbeat(options: HeartbeatOptions): Heartbeat;
