import assert from "node:assert/strict";
import { test } from "node:test";

import { mayReconnect } from "../../pm_realtime/browser/client.js";

test("may reconnect after every close that is not final", () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 3000, 4001, 4002, 4003, 4012, 4013, 4499]) {
    assert.equal(mayReconnect(code), true, String(code));
  }
});

test("may not reconnect after protocol errors and final closes", () => {
  for (const code of [1002, 1003, 1007, 1008, 1009, 1010, 4500, 4501, 4502, 4503, 4504, 4505, 4999]) {
    assert.equal(mayReconnect(code), false, String(code));
  }
});
