/** Waits for word that another tab has the shared socket again; returns what ends the wait. */
export declare function awaitSocket(
  name: string,
  onWake: (() => void) | undefined,
  page: typeof globalThis,
): () => void;
