// Written by `manage.py realtime_types`. Change the declarations in Python, not this file.

/** A pydantic model. */
export interface Address {
  /** @minLength 1 */
  streetName: string;
  /** @default [] */
  lines: string[];
  /** @default null */
  parent: Address | null;
}

/** A pydantic model. */
export interface AddressInput {
  /** @minLength 1 */
  streetName: string;
  /** @default [] */
  lines?: string[];
  /** @default null */
  parent?: AddressInput | null;
}

export interface Cat {
  type: "cat";
  /**
   * Ends a comment: *\/
   * @minimum 1
   * @maximum 9
   * @default 9
   */
  lives: number;
}

export interface CatInput {
  type: "cat";
  /**
   * Ends a comment: *\/
   * @minimum 1
   * @maximum 9
   * @default 9
   */
  lives?: number;
}

/** How it is painted. */
export type Colour = "red" | "blue";

export interface Dog {
  type: "dog";
  places: [number, string];
}

export interface Filter {
  levels?: ("high" | "low")[];
  text: string;
}

export type Level = 1 | 2;

export interface Node {
  /** @format uuid */
  nodeId: string;
  /** @default [] */
  subNodes: Node[];
  /** @default "red" */
  colour: Colour;
  /** @default null */
  byColour: { [key in Colour]?: number } | null;
  leftOut?: number;
}

export interface NodeInput {
  /** @format uuid */
  nodeId: string;
  /** @default [] */
  subNodes?: NodeInput[];
  /** @default "red" */
  colour?: Colour;
  /** @default null */
  byColour?: { [key in Colour]?: number } | null;
  leftOut?: number;
}

export interface Note {
  text: string;
}

/** One order. */
export interface Order {
  /** @format date-time */
  when: string;
  pet: Cat | Dog | null;
  /** @default null */
  wait: string | null;
  /** @default {} */
  counts: { [key: string]: number };
}

/** One order. */
export interface OrderInput {
  /** @format date-time */
  when: string;
  pet: CatInput | Dog | null;
  /** @default null */
  wait?: string | null;
  /** @default {} */
  counts?: { [key: string]: number };
}

export interface Page_Bid {
  items: tests_contract_auctions_Bid[];
  /** @default null */
  following: number | null;
}

export interface Page_Decimal {
  items: string[];
  /** @default null */
  following: number | null;
}

export interface Page_Order {
  items: Order[];
  /** @default null */
  following: number | null;
}

/** Its parts are of msgspec and of pydantic. */
export interface Parcel {
  address: AddressInput;
  content: string | AddressInput | CatInput | null;
  /** @default {"width": 1, "height": 1} */
  size?: Size;
  /** @default null */
  price?: string | null;
}

/** Somebody in a room. */
export interface Person {
  colour?: Colour;
  name: string;
}

export type Point = [number, number];

export interface Receipt {
  pk: number;
  /** @default "" */
  note: string;
}

export interface Size {
  width: number;
  /** @default 1 */
  height?: number;
}

/** A bid of the past. */
export interface tests_contract_auctions_Bid {
  pk: number;
}

/** A bid for what is sold. */
export interface tests_contract_shop_Bid {
  /**
   * In euros.
   * @format decimal
   * @exclusiveMinimum 0
   */
  amount: string;
}

/** The commands of this site. */
export interface SiteCommands {
  /**
   * Bid for what is sold.
   *
   * A bid is final.
   */
  "auction.bid": {
    payload: tests_contract_shop_Bid;
    result: Receipt;
    room: `auction:${number}`;
  };
  "auction.old": {
    result: Page_Bid;
    room: `auction:${number}`;
  };
  orders: {
    payload: Filter;
    result: Page_Order;
  };
  order: {
    payload: OrderInput;
    result: null;
  };
  "tree move/up": {
    payload: NodeInput | null;
    result: Node;
  };
  address: {
    payload: AddressInput;
    result: Address[];
  };
  "support.solve": {
    payload: number[];
    result: { [key: string]: Level };
    room: "support";
  };
  draft: {
    payload: unknown;
    result: unknown;
    room: `draft:${string}`;
  };
  parcel: {
    payload: Parcel | null;
    result: Page_Decimal;
  };
}

/** The types that this site pushes. */
export interface SiteMessages {
  sold: Page_Decimal;
  /**
   * The highest bid.
   * @format decimal
   */
  "auction.price": string;
  moved: Point[];
  notification: Receipt;
}

/** The members of this site's rooms. */
export interface SitePresence {
  support: {
    info: Person | { [key: string]: never };
  };
  "auction:<int:pk>": {
    room: `auction:${number}`;
    info: { name?: string };
  };
}

/** The rooms of this site. */
export interface SiteRooms {
  support: {
    content: Note;
  };
  "auction:<int:pk>": {
    room: `auction:${number}`;
    content: unknown;
  };
  "file:<slug:owner>/<path:name>": {
    room: `file:${string}/${string}`;
    content: unknown;
  };
}

declare module "@pm-realtime/client" {
  interface RealtimeCommands extends SiteCommands {}
  interface RealtimeMessages extends SiteMessages {}
  interface RealtimePresence extends SitePresence {}
  interface RealtimeRooms extends SiteRooms {}
}
