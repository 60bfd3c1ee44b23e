/** How a person is shown: templatetags/people.py does the same on the server. */

const COLOURS = 6;

/** The number of the colour of a user, by the primary key. */
export function colourOf(userId) {
  let sum = 0;
  for (const character of String(userId)) sum = (sum * 31 + character.codePointAt(0)) % 997;
  return sum % COLOURS;
}

/** The first letters of the first and of the last name. */
export function initials(name) {
  const words = name.trim().split(/\s+/u);
  const chosen = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return chosen.map((word) => [...word][0] ?? "").join("").toUpperCase() || "?";
}
