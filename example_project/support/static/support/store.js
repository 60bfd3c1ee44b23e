/** A list kept for the life of the tab, the oldest entries given up first. */
export function createStore(key, limit) {
  const entries = load();

  function load() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(key));
      return Array.isArray(kept) ? kept.slice(-limit) : [];
    } catch {
      return [];
    }
  }

  function save() {
    try {
      sessionStorage.setItem(key, JSON.stringify(entries));
    } catch {
      // A full or forbidden storage costs the history of the page, not the page.
    }
  }

  return {
    all: () => [...entries],

    last: () => entries.at(-1),

    add(entry) {
      entries.push(entry);
      if (entries.length > limit) entries.shift();
      save();
    },

    removeLast() {
      entries.pop();
      save();
    },
  };
}
