/** A state that frameworks can read, as React's `useSyncExternalStore` wants it. */
export interface Store<T> {
  /** Calls `listener()` after each change; returns what ends that. */
  subscribe(listener: () => void): () => void;
  /** The state of now: frozen, and the same object until something in it changes. */
  getSnapshot(): Readonly<T>;
}

/** `read()` gives the state of now; `update()` has it looked at. */
export declare function createStore<T extends object>(
  read: () => T,
): { update(): void; store: Store<T> };
