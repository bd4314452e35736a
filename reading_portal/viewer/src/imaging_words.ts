/** Patient, date and side as a reader expects to see them. */
import type { Patient } from "./manifest";
import { word, type WordKey } from "./words";

const SEX: Record<string, WordKey> = { M: "male", F: "female", O: "other" };
const AGE: Record<string, WordKey> = { Y: "years", M: "months", W: "weeks", D: "days" };

export const sexOf = (patient: Patient): string => (SEX[patient.sex] ? word(SEX[patient.sex]!) : patient.sex || "");

/** "045Y" → 45 岁; anything else as it came. */
export function ageOf(patient: Patient): string {
  const match = /^0*(\d+)([YMWD])$/.exec(patient.age ?? "");
  return match ? word(AGE[match[2]!]!, match[1]!) : (patient.age ?? "");
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
