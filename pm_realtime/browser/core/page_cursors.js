/**
 * The cursors that `{% realtime_room %}` put into the page, each with the part of the page that it
 * came with. An element counts once.
 */
export function createPageCursors() {
  const used = new WeakSet();

  return {
    /** The unused elements of a room, in the page's order. */
    find(room) {
      const found = globalThis.document?.querySelectorAll?.("[data-pm-room]") ?? [];
      return [...found].filter(
        (element) =>
          element.dataset.pmRoom === room && element.dataset.pmCursor && !used.has(element),
      );
    },

    /** The room was joined from there. */
    markUsed: (elements) => elements.forEach((element) => used.add(element)),
  };
}
