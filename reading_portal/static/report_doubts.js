// What the server doubts in the kept words, said beside the text: the clause, why, and the way to it.
import { say } from "./portal.js";

const SIDES = { L: "left", R: "right" }, SEXES = { F: "female", M: "male" };
const across = (side) => say(SIDES[side === "L" ? "R" : "L"]);
const SENTENCES = {
  side: (one) => say("The text names the {0} side, the study is of the {1}.", across(one.expected), say(SIDES[one.expected])),
  both: (one) => say("The text speaks of both sides, the study is of the {0}.", say(SIDES[one.expected])),
  unfound: (one) => say("The impression names the {0} side, the findings name only the {1}.", across(one.expected), say(SIDES[one.expected])),
  blank: () => say("A blank is not filled in yet."),
  sex: (one) => say("The text speaks of {0}; the patient is {1}.", one.said, say(SEXES[one.expected])),
};

/** One line each: why, then the clause; `show` makes the clause a button that leads to it. */
export function doubtLines(doubts, show) {
  return doubts.map((doubt) => {
    const line = document.createElement("li");
    const clause = Object.assign(document.createElement(show ? "button" : "q"), { className: "clause", textContent: doubt.within });
    if (show) { clause.type = "button"; clause.addEventListener("click", () => show(doubt)); }
    line.append(SENTENCES[doubt.kind](doubt), " ", clause);
    return line;
  });
}

/** Select the doubted word in the text, scrolled into view. */
export function showDoubt(form, { part, said, within }) {
  const field = form.elements[part];
  const at = field.value.indexOf(within);
  field.focus();
  if (at < 0) return;
  const start = at + Math.max(0, within.indexOf(said));
  field.setSelectionRange(start, start + said.length);
  field.scrollTop = (field.value.slice(0, start).split("\n").length - 2) * parseFloat(getComputedStyle(field).lineHeight);
}
