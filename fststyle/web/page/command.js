// The command that makes the same picture as the page.

/**
 * Return the command for a photo. `names` are the file names of the photo, the result and, if there
 * is one, the map of the strength.
 */
export function commandFor(names, { styles, strength, scale, keepColors }) {
  const style = styles.map(({ name, weight }) => nameAndWeight(name, weight)).join(",");
  const words = ["fststyle stylize", shellWord(names.photo), "--style", shellWord(style)];
  if (strength !== 1) words.push("--strength", strength);
  if (names.map) words.push("--strength-map", shellWord(names.map));
  if (scale !== undefined) words.push("--scale", scale);
  if (keepColors) words.push("--keep-colors");
  return [...words, "-o", shellWord(names.result)].join(" ");
}

export function nameAndWeight(name, weight) {
  return weight === 1 ? name : `${name}:${Number(weight.toFixed(4))}`;
}

/** Quote a file name or another argument, as `shell_word` in fststyle/files.py does. */
function shellWord(text) {
  const word = text.startsWith("-") ? `./${text}` : text; // not an option
  if (/^[\p{L}\p{N}_./:+=-]+$/u.test(word)) return word;
  if (/^[\p{L}\p{N}_ ./@:+,=[\]'()-]+$/u.test(word)) return `"${word}"`;
  return `'${word.replaceAll("'", "'\"'\"'")}'`;
}
