/** Stacks that scroll together by millimetres, also between studies whose frames of reference differ. */
import { TAG, frameNumbers, text, number as numberOf } from "./attributes";
import type { DisplaySet } from "./display_sets";
import { cross, dot, type Point3 } from "./geometry";

export interface Stack {
  study: string;
  /** Where its coordinates hold: one frame of reference of one study. */
  space: string;
  frameOfReference: string;
  normal: Point3;
  /** Middle of every slice in the patient, in mm; undefined where it has no place. */
  centres: (Point3 | undefined)[];
}

/** How one space is laid upon another, in mm, and by whose word. */
export interface Registration {
  shift: Point3;
  by: "frame" | "guess" | "reader";
}

const ORIGIN: Point3 = [0, 0, 0];
const plus = (a: Point3, b: Point3): Point3 => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const times = (a: Point3, factor: number): Point3 => [a[0] * factor, a[1] * factor, a[2] * factor];

/** Undefined for a single picture, and where slices have no place in the patient. */
export function stackOf(displaySet: DisplaySet | undefined): Stack | undefined {
  const head = displaySet?.frames[0];
  if (!displaySet || !head || displaySet.frames.length < 2) return undefined;
  const cosinesOf = ({ instance, number }: DisplaySet["frames"][number]): number[] =>
    frameNumbers(instance.attributes, number, TAG.planeOrientation, TAG.orientation);
  const cosines = cosinesOf(head);
  if (cosines.length !== 6) return undefined;
  const centres = displaySet.frames.map((frame): Point3 | undefined => {
    const { attributes } = frame.instance;
    const position = frameNumbers(attributes, frame.number, TAG.planePosition, TAG.position);
    const [down, across] = frameNumbers(attributes, frame.number, TAG.pixelMeasures, TAG.pixelSpacing);
    const own = cosinesOf(frame);
    if (position.length !== 3 || own.length !== 6) return undefined;
    const right = (across ?? 0) * ((numberOf(attributes, TAG.columns) ?? 1) - 1) / 2;
    const below = (down ?? 0) * ((numberOf(attributes, TAG.rows) ?? 1) - 1) / 2;
    return plus(plus(position as Point3, times(own.slice(0, 3) as Point3, right)), times(own.slice(3) as Point3, below));
  });
  const frameOfReference = text(head.instance.attributes, TAG.frameOfReference);
  return { study: displaySet.studyInstanceUID, space: `${displaySet.studyInstanceUID}/${frameOfReference || displaySet.seriesInstanceUID}`, frameOfReference,
    normal: cross(cosines.slice(0, 3), cosines.slice(3)), centres };
}

/** Stacks can be linked when their slices are nearly parallel. */
export function areParallel(a: Stack, b: Stack): boolean {
  return Math.abs(dot(a.normal, b.normal)) > 0.95;
}

/** Where a slice lies along the normal of `along`, in mm. */
export function placeOf(stack: Stack, index: number, along: Stack = stack): number | undefined {
  const centre = stack.centres[index];
  return centre && dot(along.normal, centre);
}

/** The slice of `b` that lies nearest to slice `index` of `a` laid upon it, and by how many mm it misses it. */
export function matchingSlice(a: Stack, index: number, b: Stack, { shift }: Registration): { index: number; misses: number } | undefined {
  const centre = a.centres[index];
  if (!centre || !areParallel(a, b)) return undefined;
  const target = dot(b.normal, plus(centre, shift));
  let best: { index: number; misses: number } | undefined;
  b.centres.forEach((_, candidate) => {
    const place = placeOf(b, candidate);
    if (place === undefined) return;
    const misses = Math.abs(place - target);
    if (!best || misses < best.misses) best = { index: candidate, misses };
  });
  return best;
}

/**
 * What is known of how spaces lie upon each other. Within one frame of reference nothing is to be done; what the reader
 * says counts more than anything; else it is guessed, and said to be a guess.
 */
export class Registrations {
  private readonly said = new Map<string, Registration>();

  between(a: Stack, b: Stack): Registration | undefined {
    const said = this.said.get(`${a.space}>${b.space}`);
    if (said) return said;
    if (a.frameOfReference && a.frameOfReference === b.frameOfReference) return { shift: ORIGIN, by: "frame" };
    // Within one study another frame of reference says that the patient has moved: there is nothing to guess from.
    return areParallel(a, b) && a.study !== b.study ? { shift: guess(a, b), by: "guess" } : undefined;
  }

  /**
   * These two slices show the same anatomy: from now on all stacks of the two spaces meet there. Only the direction
   * across the slices is learnt; what other directions were told before stays. Answers the mm that were added.
   */
  linkHere(a: Stack, aIndex: number, b: Stack, bIndex: number): number | undefined {
    const [from, to] = [placeOf(a, aIndex, b), placeOf(b, bIndex)];
    if (from === undefined || to === undefined || !areParallel(a, b)) return undefined;
    const before = this.said.get(`${a.space}>${b.space}`)?.shift ?? ORIGIN;
    const shift = plus(before, times(b.normal, to - from - dot(b.normal, before)));
    this.said.set(`${a.space}>${b.space}`, { shift, by: "reader" });
    this.said.set(`${b.space}>${a.space}`, { shift: times(shift, -1), by: "reader" });
    return to - from;
  }
}

/**
 * Tables stand alike on most scanners: where the two ranges overlap by half the shorter one, coordinates are taken as they
 * are. Else the middles of both ranges are laid upon each other.
 */
function guess(a: Stack, b: Stack): Point3 {
  const [from, to] = [rangeOf(a, b), rangeOf(b, b)];
  if (!from || !to) return ORIGIN;
  const overlap = Math.min(from[1], to[1]) - Math.max(from[0], to[0]);
  if (overlap >= Math.min(from[1] - from[0], to[1] - to[0]) / 2) return ORIGIN;
  return times(b.normal, (to[0] + to[1] - from[0] - from[1]) / 2);
}

function rangeOf(stack: Stack, along: Stack): [number, number] | undefined {
  const places = stack.centres.map((_, index) => placeOf(stack, index, along)).filter((place) => place !== undefined);
  return places.length ? [Math.min(...places), Math.max(...places)] : undefined;
}
