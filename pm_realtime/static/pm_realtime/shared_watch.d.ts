/** How long an owner may take for an answer, in ms; it is asked twice before it is given up. */
export declare const ANSWER_WITHIN: 2000;

/** How often a tab that is seen asks its owner whether it is there, in ms. */
export declare const ASK_EVERY: 5000;

export interface Watch {
  expect(): void;
  inquire(): void;
  sign(): void;
  pause(): void;
  resume(): void;
  stop(): void;
}

/** Notices an owner that is there and does nothing. */
export declare function createWatch(options: {
  ask(): void;
  isSeen(): boolean;
  onSilence(): void;
}): Watch;
