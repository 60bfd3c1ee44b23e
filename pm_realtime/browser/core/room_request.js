/**
 * One `subscribe`: `place` says from where its subscribers want the room's messages (`since`,
 * `last`), null if from now on; `elements` of the page gave that place; `waiters` wait for the reply.
 */
export const createRequest = (place = null, elements = [], waiters = []) => ({
  place,
  elements,
  waiters,
});

/** One request that is of use to the waiters of both. */
export function merge(first, second) {
  if (!second) return first;
  const { since, last } = first.place ?? {};
  const other = second.place ?? {};
  const place = first.place && {
    since: other.since < since ? other.since : since ?? other.since,
    last: other.last > last ? other.last : last ?? other.last,
  };
  return createRequest(
    place ?? second.place,
    [...first.elements, ...second.elements],
    [...first.waiters, ...second.waiters],
  );
}

/** Says if the reply to a request that was sent also serves another one. */
export function serves({ place: sent }, { place }) {
  if (!place) return true;
  const isPart = (key, isEnough) => sent?.[key] === place[key] || isEnough(sent?.[key], place[key]);
  const hasSameParts = (sent?.since === undefined) === (place.since === undefined);
  return (
    hasSameParts &&
    isPart("since", (one, other) => one < other) &&
    isPart("last", (one, other) => one > other)
  );
}

export function settle(request, verb, value) {
  const waiters = request?.waiters ?? [];
  if (request) request.waiters = [];
  for (const waiter of waiters) waiter[verb](value);
}
