/** Patient, date and side as a reader expects to see them. */
import type { Patient } from "./manifest";
import { word, type WordKey } from "./words";

const SEX: Record<string, WordKey> = { M: "male", F: "female", O: "other" };
const AGE: Record<string, WordKey> = { Y: "years", M: "months", W: "weeks", D: "days" };

export const sexOf = (patient: Patient): string => (SEX[patient.sex] ? word(SEX[patient.sex]!) : patient.sex || "");

/**
 * On the day of the exam, from the birth date, as the page around counts it: years from two on, then months, then days.
 * Patient's Age is what a device typed ("000Y" is common), and counts only where no birth date is known.
 */
export function ageOf(patient: Patient, on: string): string {
  const [born, then] = [patient.birth_date, on].map((date) => /^(\d{4})(\d\d)(\d\d)$/.exec(date ?? "")?.slice(1).map(Number));
  if (born && then) {
    const months = (then[0]! - born[0]!) * 12 + then[1]! - born[1]! - (then[2]! < born[2]! ? 1 : 0);
    if (months >= 24) return word("years", Math.floor(months / 12));
    if (months >= 2) return word("months", months);
    const days = (Date.UTC(then[0]!, then[1]! - 1, then[2]!) - Date.UTC(born[0]!, born[1]! - 1, born[2]!)) / 86_400_000;
    if (days >= 0) return word("days", days);
  }
  const match = /^0*(\d+)([YMWD])$/.exec(patient.age ?? "");
  return match && match[1] !== "0" ? word(AGE[match[2]!]!, match[1]!) : "";
}

/** "20261101" → 2026-11-01. */
export function dateOf(date: string): string {
  return /^\d{8}$/.test(date) ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : date;
}

/** Left, right, both; nothing for U, unpaired (PS3.3 C.7.3.1.1.2). */
export function sideOf(laterality: string): string {
  if (laterality === "U") return "";
  const key = `side_${laterality}`;
  return ["side_L", "side_R", "side_B"].includes(key) ? word(key as WordKey) : laterality;
}
