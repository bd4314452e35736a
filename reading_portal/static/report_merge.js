// Two versions of one report, and what both came from: what can be put together by itself, and what a person decides.

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** Words with every part that only one side has changed; `open` names the parts that both have changed, each with
 *  both versions. Without a `base` every difference is open. */
export function merge(base, mine, theirs) {
  const words = { ...theirs }, open = [];
  for (const name of Object.keys(theirs)) {
    if (name === "template" || same(mine[name], theirs[name])) continue;
    if (base && same(base[name], theirs[name])) words[name] = mine[name];
    else if (!base || !same(base[name], mine[name])) open.push({ name, mine: mine[name], theirs: theirs[name] });
  }
  return { words, open };
}

/** The text in pieces, `{text, isOther}`: what the other version does not have, clause by clause. */
export function difference(text, other) {
  const [here, there] = [text, other].map((one) => one.match(/[^，,。．.;；!！?？\n]*[，,。．.;；!！?？\n]?/g).filter(Boolean));
  const common = here.map(() => new Uint16Array(there.length + 1));
  common.push(new Uint16Array(there.length + 1));
  for (let i = here.length - 1; i >= 0; i--)
    for (let j = there.length - 1; j >= 0; j--)
      common[i][j] = here[i] === there[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  const pieces = [];
  for (let i = 0, j = 0; i < here.length; i++) {
    while (j < there.length && here[i] !== there[j] && common[i][j + 1] > common[i + 1][j]) j++;
    const isOther = here[i] !== there[j];
    if (!isOther) j++;
    if (pieces.at(-1)?.isOther === isOther) pieces.at(-1).text += here[i];
    else pieces.push({ text: here[i], isOther });
  }
  return pieces;
}
