/** How long a page may stand still before it has to ask whether it is the owner, in ms. */
export declare const STILL_FOR: 1000;

export interface Guard {
  pass(run: () => void): void;
  doubt(): void;
  contest(): void;
  stop(): void;
}

/** Lets an owner act while it is one. */
export declare function createGuard(options: {
  isOwner(): Promise<boolean>;
  onLost(): void;
  onWon(): void;
}): Guard;
