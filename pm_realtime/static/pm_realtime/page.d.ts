export interface PageHooks {
  /** Awake, visible or online again. */
  onWake(): void;
  /** Offline. */
  onDoubt(): void;
  /** The page is left; it comes back, if ever, by a wake. */
  onHide(): void;
}

/**
 * Watches the page for what may have cost it the connection; returns what ends the watch. Does
 * nothing outside a page.
 */
export declare function watchPage(hooks: PageHooks): () => void;
