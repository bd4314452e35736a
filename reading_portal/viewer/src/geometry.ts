/** Points, planes and distances. Pixels are [column, row] with 0 at the centre of the first pixel; world is in mm. */
export type Point2 = [number, number];
export type Point3 = [number, number, number];
export interface Plane {
  imagePositionPatient: ArrayLike<number>;
  rowCosines: ArrayLike<number>;
  columnCosines: ArrayLike<number>;
  rowPixelSpacing: number;
  columnPixelSpacing: number;
}

export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => a[0]! * b[0]! + a[1]! * b[1]! + a[2]! * b[2]!;

export const cross = (a: ArrayLike<number>, b: ArrayLike<number>): Point3 => [
  a[1]! * b[2]! - a[2]! * b[1]!,
  a[2]! * b[0]! - a[0]! * b[2]!,
  a[0]! * b[1]! - a[1]! * b[0]!,
];

/** PS3.3 C.7.6.2.1.1: the row direction is walked in steps of the column spacing. */
export function worldToPixel(plane: Plane, world: ArrayLike<number>): Point2 {
  const origin = plane.imagePositionPatient;
  const offset: Point3 = [world[0]! - origin[0]!, world[1]! - origin[1]!, world[2]! - origin[2]!];
  return [dot(offset, plane.rowCosines) / (plane.columnPixelSpacing || 1),
    dot(offset, plane.columnCosines) / (plane.rowPixelSpacing || 1)];
}

export function pixelToWorld(plane: Plane, pixel: Point2): Point3 {
  const across = pixel[0] * (plane.columnPixelSpacing || 1);
  const down = pixel[1] * (plane.rowPixelSpacing || 1);
  return [0, 1, 2].map((axis) => plane.imagePositionPatient[axis]! + plane.rowCosines[axis]! * across
    + plane.columnCosines[axis]! * down) as Point3;
}

/** Angle at the middle point, in degrees 0–180. */
export function angleAt(a: Point2, vertex: Point2, b: Point2): number {
  const first = Math.atan2(a[1] - vertex[1], a[0] - vertex[0]);
  const second = Math.atan2(b[1] - vertex[1], b[0] - vertex[0]);
  const turn = Math.abs(first - second) * 180 / Math.PI;
  return turn > 180 ? 360 - turn : turn;
}

/** Angle between two directions, in degrees 0–180. */
export function angleBetween(a: Point2, b: Point2): number {
  return Math.abs(Math.atan2(a[0] * b[1] - a[1] * b[0], a[0] * b[0] + a[1] * b[1])) * 180 / Math.PI;
}

/** Area inside a closed line. */
export function areaOf(points: Point2[]): number {
  const twice = points.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = points[(index + 1) % points.length]!;
    return sum + x * nextY - nextX * y;
  }, 0);
  return Math.abs(twice) / 2;
}

/** Where a slice lies along a stack's normal, in mm; undefined when it has no place in the patient. */
export function distanceAlong(normal: ArrayLike<number>, position: ArrayLike<number> | undefined): number | undefined {
  return position && position.length >= 3 ? dot(normal, position) : undefined;
}

/** Index of the value nearest to the target; -1 for an empty list. */
export function nearestIndex(values: (number | undefined)[], target: number): number {
  let best = -1;
  values.forEach((value, index) => {
    if (value === undefined) return;
    if (best < 0 || Math.abs(value - target) < Math.abs(values[best]! - target)) best = index;
  });
  return best;
}
