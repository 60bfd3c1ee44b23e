/** A list that is kept for the life of the tab. The oldest entries are dropped first. */
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
      // With a full or forbidden storage the page works without history.
    }
  }

  return {
    all: () => [...entries],

    add(entry) {
      entries.push(entry);
      if (entries.length > limit) entries.shift();
      save();
    },
  };
}
