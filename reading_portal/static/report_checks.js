// What a second pair of eyes would say of the words: the wrong side, the wrong sex.
import { say } from "./portal.js";

const SIDES = { L: [/左|\bleft\b/i, "left"], R: [/右|\bright\b/i, "right"] };
const OF_MEN = /前列腺|睾丸|精囊|阴茎|附睾|\bprostat\w*|\btesti\w*|\bseminal ves\w*/i;
const OF_WOMEN = /子宫|卵巢|阴道|宫颈|输卵管|\buter\w*|\bovar\w*|\bcervix\b|\bvagin\w*/i;

/** Sentences of warning about a text; `laterality` is L, R or B, `sex` DICOM's. */
export function warningsOf(text, laterality, sex) {
  const found = [];
  const other = laterality === "L" ? "R" : laterality === "R" ? "L" : null;
  if (other && SIDES[other][0].test(text) && !SIDES[laterality][0].test(text))
    found.push(say("The text names the {0} side, the study is of the {1}.", say(SIDES[other][1]), say(SIDES[laterality][1])));
  const wrong = sex === "F" ? text.match(OF_MEN) : sex === "M" ? text.match(OF_WOMEN) : null;
  if (wrong) found.push(say("The text speaks of {0}; the patient is {1}.", wrong[0], say(sex === "F" ? "female" : "male")));
  return found;
}
