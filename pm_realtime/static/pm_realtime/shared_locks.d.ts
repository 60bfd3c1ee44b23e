export interface LockRequest {
  release(): void;
}

/** Asks for a Web Lock, and holds it once granted until `release()`. */
export declare function requestLock(
  locks: LockManager,
  name: string,
  options: {
    onGranted?(): void;
    onRefused?(): void;
    onLost?(): void;
    onDenied?(): void;
    steal?: boolean;
    ifAvailable?: boolean;
  },
): LockRequest;
