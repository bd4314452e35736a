/** Whether a stack of slices is a volume that other planes may be cut from, or why not. */
import { TAG, frameNumbers, number, text } from "./attributes";
import type { DisplaySet, Frame } from "./display_sets";
import { cross, dot, type Point3 } from "./geometry";
import type { WordKey } from "./words";

export interface Volume {
  /** Slices in the order in which they lie, from the feet, the right or the back on. */
  frames: Frame[];
  /** Distance from slice to slice, in mm. */
  step: number;
  normal: Point3;
  bytes: number;
}

export interface NoVolume {
  why: WordKey;
  values: (string | number)[];
}

const FEWEST = 5;
/** Of directions: what headers with six decimals differ by. */
const SAME_DIRECTION = 1e-3;
/** A step may differ by so much of itself: scanners round positions to hundredths. */
const SAME_STEP = 0.02;
const STRAIGHT_DEGREES = 0.5;

/**
 * Cornerstone puts slices at equal distances along their normal, whatever their positions say. Where they lie
 * otherwise (a tilted gantry, a gap, two phases in one place), a plane cut from them would show a wrong patient.
 */
export function volumeOf(set: DisplaySet): Volume | NoVolume {
  const frames = set.frames;
  if (frames.length < FEWEST) return no("volume_few", FEWEST);
  const placed = frames.map((frame) => place(frame));
  const [first] = placed;
  if (!first || placed.some((one) => !one)) return no("volume_no_place");
  const all = placed as Placed[];
  if (all.some((one) => one.samples !== 1)) return no("volume_colour");
  if (all.some((one) => one.frameOfReference !== first.frameOfReference)) return no("volume_two_frames");
  if (all.some((one) => !isSame(one.cosines, first.cosines))) return no("volume_directions");
  if (all.some((one) => one.rows !== first.rows || one.columns !== first.columns || !isSame(one.spacing, first.spacing))) {
    return no("volume_sizes");
  }
  const normal = cross(first.cosines.slice(0, 3), first.cosines.slice(3));
  const ordered = all.map((one) => ({ ...one, along: dot(normal, one.position) })).sort((a, b) => a.along - b.along);
  const steps = ordered.slice(1).map((one, index) => one.along - ordered[index]!.along);
  const [least, most] = [Math.min(...steps), Math.max(...steps)];
  if (least < 1e-3) return no("volume_same_place");
  const step = steps.reduce((sum, one) => sum + one, 0) / steps.length;
  if (most - least > Math.max(SAME_STEP * step, 0.02)) return no("volume_steps", least.toFixed(2), most.toFixed(2));
  const tilt = tiltOf(normal, ordered[0]!.position, ordered.at(-1)!.position);
  if (tilt > STRAIGHT_DEGREES) return no("volume_tilt", tilt.toFixed(1));
  return { frames: ordered.map(({ frame }) => frame), step, normal, bytes: first.rows * first.columns * frames.length * 2 };
}

export const isVolume = (answer: Volume | NoVolume): answer is Volume => "frames" in answer;

interface Placed {
  frame: Frame;
  position: number[];
  cosines: number[];
  spacing: number[];
  rows: number;
  columns: number;
  samples: number;
  frameOfReference: string;
}

function place(frame: Frame): Placed | undefined {
  const { attributes } = frame.instance;
  const position = frameNumbers(attributes, frame.number, TAG.planePosition, TAG.position);
  const cosines = frameNumbers(attributes, frame.number, TAG.planeOrientation, TAG.orientation);
  const spacing = frameNumbers(attributes, frame.number, TAG.pixelMeasures, TAG.pixelSpacing);
  if (position.length !== 3 || cosines.length !== 6 || spacing.length !== 2) return undefined;
  return { frame, position, cosines, spacing, rows: number(attributes, TAG.rows) ?? 0, columns: number(attributes, TAG.columns) ?? 0,
    samples: number(attributes, "00280002") ?? 1, frameOfReference: text(attributes, TAG.frameOfReference) };
}

/** Degrees between the slices' normal and the way from the first to the last of them. */
function tiltOf(normal: Point3, first: number[], last: number[]): number {
  const way = first.map((value, axis) => last[axis]! - value);
  return Math.acos(Math.min(1, Math.abs(dot(normal, way)) / Math.hypot(...way))) * 180 / Math.PI;
}

const isSame = (a: number[], b: number[]): boolean => a.every((value, index) => Math.abs(value - b[index]!) < SAME_DIRECTION);
const no = (why: WordKey, ...values: (string | number)[]): NoVolume => ({ why, values });
