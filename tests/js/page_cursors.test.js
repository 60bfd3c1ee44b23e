/** Rooms that start where the page's own content ends. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fakePage } from "./fake_page.js";
import { at, createStreams } from "./streams.js";

/** A page; `put(room, cursor)` adds an element of `{% realtime_room %}` and returns it. */
function setup(t) {
  fakePage(t);
  const elements = [];
  document.querySelectorAll = (selector) => {
    assert.equal(selector, "[data-pm-room]");
    return elements;
  };
  const put = (pmRoom, pmCursor) => elements.push({ dataset: { pmRoom, pmCursor } });
  const parts = createStreams(t);
  parts.accept();
  const asked = () => parts.WebSocket.last.sentOf("subscribe").map(({ payload }) => payload);
  return { ...parts, elements, put, asked };
}

test("a room starts where the page's content ends", (t) => {
  const { realtime, put, asked } = setup(t);
  put("a", at(10));
  put('b"]', at(20));
  put("c", "");
  realtime.subscribe("a");
  realtime.subscribe('b"]');
  realtime.subscribe("c");
  assert.deepEqual(asked(), [{ room: "a", since: at(10) }, { room: 'b"]', since: at(20) }, { room: "c" }]);
});

test("options of the subscription come first", (t) => {
  const { realtime, put, asked } = setup(t);
  put("a", at(10));
  put("b", at(10));
  realtime.subscribe("a", { last: 5 });
  realtime.subscribe("b", { since: at(3) });
  assert.deepEqual(asked(), [{ room: "a", last: 5 }, { room: "b", since: at(3) }]);
});

test("of several elements of a room, the last one counts", (t) => {
  const { realtime, put, asked } = setup(t);
  for (const number of [10, 30, 20]) put("a", at(number));
  realtime.subscribe("a");
  assert.deepEqual(asked(), [{ room: "a", since: at(20) }]);
});

test("a component that mounts twice before the answer starts at the same place", (t) => {
  const { realtime, put, asked } = setup(t);
  put("a", at(10));
  realtime.subscribe("a").leave();
  realtime.subscribe("a");
  assert.deepEqual(asked().map(({ since }) => since), [at(10), at(10)]);
});

test("an element counts once, and content that is loaded later has its own", (t) => {
  const { realtime, put, asked, grant } = setup(t);
  put("a", at(10));
  realtime.subscribe("a");
  grant({ cursor: at(10), recovered: true });
  realtime.unsubscribe("a");
  const again = realtime.subscribe("a");
  grant({ cursor: at(15) });
  again.leave();
  put("a", at(12));
  realtime.subscribe("a");
  assert.deepEqual(asked().map(({ since }) => since), [at(10), undefined, at(12)]);
});

test("later content of a room that the page is in gets what came since, and nobody else does", (t) => {
  const { realtime, put, asked, grant, news, seen } = setup(t);
  put("a", at(10));
  realtime.subscribe("a");
  grant({ cursor: at(10), recovered: true });
  for (const number of [11, 12]) news(number, { room: "a" });
  put("a", at(11));
  const late = [];
  realtime.on("news", ({ payload }) => late.push(payload));
  realtime.subscribe("a");
  grant({ cursor: at(11), recovered: true });
  news(12, { room: "a", replayed: true });
  news(13, { room: "a" });
  assert.deepEqual([seen, late], [[11, 12, 13], [12, 13]]);
  put("a", at(13));
  realtime.subscribe("a");
  assert.deepEqual(asked().map(({ since }) => since), [at(10), at(11), undefined], "nothing came since");
});

test("the client comes back to where it is, not to the element", (t) => {
  const { realtime, put, asked, grant, news, reconnect } = setup(t);
  put("a", at(10));
  realtime.subscribe("a");
  grant({ cursor: at(10), recovered: true });
  news(11, { room: "a" });
  reconnect();
  assert.deepEqual(asked(), [{ room: "a", since: at(11) }]);
});

test("a page that waits for its first connection keeps the place it was rendered at", (t) => {
  const { realtime, put, asked, WebSocket, tick, accept } = setup(t);
  WebSocket.last.close();
  put("a", at(10));
  realtime.subscribe("a");
  tick(30_000);
  accept();
  assert.deepEqual(asked(), [{ room: "a", since: at(10) }]);
});
