/** The letters at the four edges of a viewport: A P L R H F, true under any rotation and mirroring. */
import { TAG, frameNumbers, type Attributes } from "./attributes";
import type { Point2 } from "./geometry";

export interface Edges {
  left: string;
  right: string;
  top: string;
  bottom: string;
}

const AXES: [plus: string, minus: string][] = [["L", "R"], ["P", "A"], ["H", "F"]];
const OPPOSITE: Record<string, string> = { A: "P", P: "A", L: "R", R: "L", H: "F", F: "H" };

/** Main directions of a unit vector in the patient (LPS), the strongest first, small ones left out. */
export function lettersOf(direction: ArrayLike<number>): string {
  return AXES
    .map(([plus, minus], axis) => ({ letter: direction[axis]! >= 0 ? plus : minus, size: Math.abs(direction[axis]!) }))
    .filter(({ size }) => size > 0.2)
    .sort((a, b) => b.size - a.size)
    .map(({ letter }) => letter)
    .join("");
}

/** Where columns and rows of a frame run to: from the image's plane in the patient, else from PatientOrientation. */
export function lettersAlong(attributes: Attributes, frame: number): [string, string] {
  const cosines = frameNumbers(attributes, frame, TAG.planeOrientation, TAG.orientation);
  if (cosines.length === 6) return [lettersOf(cosines.slice(0, 3)), lettersOf(cosines.slice(3))];
  const values = (attributes[TAG.patientOrientation]?.Value ?? []).map(String);
  return [values[0] ?? "", values[1] ?? ""];
}

export const oppositeOf = (letters: string): string => [...letters].map((letter) => OPPOSITE[letter] ?? letter).join("");

/**
 * Place the letters. `along` are the letters towards which columns (first) and rows (second) run in the image;
 * `onScreen` how one step along each of them moves on the screen, y downwards.
 */
export function edgesOf(along: [string, string], onScreen: [Point2, Point2]): Edges {
  const edges: Edges = { left: "", right: "", top: "", bottom: "" };
  along.forEach((letters, axis) => {
    if (!letters) return;
    const [x, y] = onScreen[axis as 0 | 1];
    const isHorizontal = Math.abs(x) >= Math.abs(y);
    const isForward = isHorizontal ? x > 0 : y > 0;
    const towards = isForward ? letters : oppositeOf(letters);
    if (isHorizontal) [edges.right, edges.left] = [towards, oppositeOf(towards)];
    else [edges.bottom, edges.top] = [towards, oppositeOf(towards)];
  });
  return edges;
}
