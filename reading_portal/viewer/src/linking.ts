/** Viewports that scroll together by millimetres, also between studies whose frames of reference differ. */
import { dot, nearestIndex, type Point3 } from "./geometry";

export interface Stack {
  frameOfReference: string;
  normal: Point3;
  along: (number | undefined)[];
}

/** Stacks can be linked when their slices are nearly parallel. */
export function areParallel(a: Stack, b: Stack): boolean {
  return Math.abs(dot(a.normal, b.normal)) > 0.95;
}

/**
 * How many mm to add to a position of `a` to reach the same anatomy in `b`: nothing within one frame of reference;
 * otherwise what brings the two slices on the screen together. Undefined where it cannot be known.
 */
export function offsetBetween(a: Stack, aIndex: number, b: Stack, bIndex: number): number | undefined {
  if (!areParallel(a, b)) return undefined;
  if (a.frameOfReference && a.frameOfReference === b.frameOfReference) return 0;
  const from = a.along[aIndex];
  const to = b.along[bIndex];
  return from === undefined || to === undefined ? undefined : to - from * direction(a, b);
}

/** The slice of `b` that lies where slice `index` of `a` lies; -1 where there is none. */
export function matchingSlice(a: Stack, index: number, b: Stack, offset: number): number {
  const from = a.along[index];
  return from === undefined ? -1 : nearestIndex(b.along, from * direction(a, b) + offset);
}

/** A series scanned from the other end has its normal turned round. */
const direction = (a: Stack, b: Stack): 1 | -1 => (dot(a.normal, b.normal) < 0 ? -1 : 1);
