// What writes a part of the text: an abbreviation that becomes its text, and blanks that are filled one by one.

const BLANK = /_{3,}/g;

/** Insert as if typed, so that the browser's own undo takes it back. */
export function write(field, from, to, text) {
  field.focus();
  field.setSelectionRange(from, to);
  if (!document.execCommand("insertText", false, text)) field.setRangeText(text, from, to, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** The longest abbreviation that ends before `at` and does not begin inside a word. */
export function abbreviationBefore(text, at, macros) {
  return Object.keys(macros).sort((one, other) => other.length - one.length).find((short) => {
    if (!text.endsWith(short, at)) return false;
    const before = text[at - short.length - 1] ?? "";
    return !(/^[\p{Script=Latin}\d]/u.test(short) && /[\p{Script=Latin}\d]/u.test(before));
  });
}

/** Select the next blank after the cursor (before it, `backwards`), round through the fields; false where there is none. */
export function nextBlank(fields, backwards = false) {
  const at = Math.max(0, fields.indexOf(document.activeElement));
  const blanks = fields.flatMap((field, number) => [...field.value.matchAll(BLANK)].map((found) => ({ field, number, start: found.index, end: found.index + found[0].length })));
  if (!blanks.length) return false;
  const [start, end] = [fields[at].selectionStart, fields[at].selectionEnd];
  const after = blanks.find((one) => one.number > at || (one.number === at && one.start >= end)) ?? blanks[0];
  const before = blanks.findLast((one) => one.number < at || (one.number === at && one.end <= start)) ?? blanks.at(-1);
  const to = backwards ? before : after;
  to.field.focus();
  to.field.setSelectionRange(to.start, to.end);
  return true;
}

/** Abbreviations of `form` expand at Tab or space; where none stands before the cursor, the keys do what they always do. */
export function expandIn(form) {
  const macros = JSON.parse(form.dataset.macros);
  // The browser's undo leaves the abbreviation selected: the next letter would take its place.
  form.addEventListener("input", ({ inputType, target: field }) => {
    if (inputType === "historyUndo" && field.value.slice(field.selectionStart, field.selectionEnd) in macros) field.setSelectionRange(field.selectionEnd, field.selectionEnd);
  });
  form.addEventListener("keydown", (event) => {
    const field = event.target;
    if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || (event.key !== "Tab" && event.key !== " ")) return;
    if (field.tagName !== "TEXTAREA" || field.readOnly || field.selectionStart !== field.selectionEnd) return;
    const at = field.selectionStart;
    const short = abbreviationBefore(field.value, at, macros);
    if (!short) return;
    event.preventDefault();
    const text = macros[short];
    write(field, at - short.length, at, text);
    const blank = text.search(BLANK);
    if (blank >= 0) field.setSelectionRange(at - short.length + blank, at - short.length + blank + text.match(BLANK)[0].length);
  });
}
