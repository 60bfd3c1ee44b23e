export interface Events {
  on(type: string, handler: (detail: any) => void): () => void;
  once(type: string, handler: (detail: any) => void): () => void;
  emit(type: string, detail?: unknown): void;
}

/** Handlers by event name. One that throws is reported and does not keep the others from running. */
export declare function createEvents(): Events;
