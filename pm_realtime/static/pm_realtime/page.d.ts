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
 *
 * Of a machine that slept no event tells, and timers may stand still in its sleep: a clock looks
 * for time that went by unseen. Hidden tabs have slow timers, so those are left until shown.
 */
export declare function watchPage(hooks: PageHooks): () => void;
