/** Pixel values in modality units (HU for CT), read from what Cornerstone decoded. */
import type { Types } from "@cornerstonejs/core";
import type { Point2 } from "./geometry";

export interface Statistics {
  count: number;
  mean: number;
  deviation: number;
  min: number;
  max: number;
}

/** The value of one pixel; three values for colour; undefined outside the image. */
export function valueAt(image: Types.IImage, [column, row]: Point2): number | number[] | undefined {
  const i = Math.round(column);
  const j = Math.round(row);
  if (i < 0 || j < 0 || i >= image.columns || j >= image.rows) return undefined;
  const pixels = image.getPixelData();
  if (image.color) {
    const components = Math.round(pixels.length / (image.columns * image.rows));
    const start = (j * image.columns + i) * components;
    return [pixels[start]!, pixels[start + 1]!, pixels[start + 2]!];
  }
  return inModalityUnits(image, pixels[j * image.columns + i]!);
}

/** Decoding has usually applied slope and intercept already; where it could not, it is done here. */
function inModalityUnits(image: Types.IImage, stored: number): number {
  return image.preScale?.scaled ? stored : stored * image.slope + image.intercept;
}

/** An area in pixel coordinates; a pixel belongs to it when its centre does. */
export interface Shape {
  left: number;
  top: number;
  right: number;
  bottom: number;
  contains(column: number, row: number): boolean;
}

// Handles come back from world coordinates with the last digit in doubt; an edge through centres takes them.
const EDGE = 1e-6;

/** An ellipse by the ends of its two axes. */
export function ellipse([top, bottom, left, right]: [Point2, Point2, Point2, Point2]): Shape {
  const centre: Point2 = [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2];
  const across = Math.hypot(right[0] - left[0], right[1] - left[1]) / 2;
  const along = Math.hypot(bottom[0] - top[0], bottom[1] - top[1]) / 2;
  const turn = Math.atan2(right[1] - left[1], right[0] - left[0]);
  const [cos, sin, reach] = [Math.cos(turn), Math.sin(turn), Math.max(across, along)];
  return {
    left: centre[0] - reach, right: centre[0] + reach, top: centre[1] - reach, bottom: centre[1] + reach,
    contains: (column, row) => {
      const [x, y] = [column - centre[0], row - centre[1]];
      return ((x * cos + y * sin) / across) ** 2 + ((y * cos - x * sin) / along) ** 2 <= 1 + EDGE;
    },
  };
}

/** A rectangle by its first corner and that corner's two neighbours. */
export function rectangle(corner: Point2, across: Point2, down: Point2): Shape {
  const [u, v]: [Point2, Point2] = [[across[0] - corner[0], across[1] - corner[1]], [down[0] - corner[0], down[1] - corner[1]]];
  const [uu, vv] = [u[0] ** 2 + u[1] ** 2, v[0] ** 2 + v[1] ** 2];
  const isWithin = (share: number): boolean => share >= -EDGE && share <= 1 + EDGE;
  return {
    ...boxOf([corner, across, down, [across[0] + v[0], across[1] + v[1]]]),
    contains: (column, row) => {
      const [x, y] = [column - corner[0], row - corner[1]];
      return isWithin((x * u[0] + y * u[1]) / uu) && isWithin((x * v[0] + y * v[1]) / vv);
    },
  };
}

/** A closed line, by the even-odd rule. */
export function polygon(points: Point2[]): Shape {
  return {
    ...boxOf(points),
    contains: (column, row) => {
      let isInside = false;
      for (let i = 0, j = points.length - 1; i < points.length; j = i, i += 1) {
        const [a, b] = [points[i]!, points[j]!];
        const isCrossed = (a[1] > row) !== (b[1] > row) && column < (b[0] - a[0]) * (row - a[1]) / (b[1] - a[1]) + a[0];
        if (isCrossed) isInside = !isInside;
      }
      return isInside;
    },
  };
}

function boxOf(points: Point2[]): Omit<Shape, "contains"> {
  const [columns, rows] = [points.map(([column]) => column), points.map(([, row]) => row)];
  return { left: Math.min(...columns), right: Math.max(...columns), top: Math.min(...rows), bottom: Math.max(...rows) };
}

/** Mean, standard deviation (of the pixels themselves: divided by their number), least and greatest; undefined for colour or no pixel. */
export function statistics(image: Types.IImage, shape: Shape): Statistics | undefined {
  if (image.color) return undefined;
  const pixels = image.getPixelData();
  let count = 0;
  let mean = 0;
  let squares = 0;
  let min = Infinity;
  let max = -Infinity;
  for (let j = Math.max(0, Math.ceil(shape.top - EDGE)); j <= Math.min(image.rows - 1, shape.bottom + EDGE); j += 1) {
    for (let i = Math.max(0, Math.ceil(shape.left - EDGE)); i <= Math.min(image.columns - 1, shape.right + EDGE); i += 1) {
      if (!shape.contains(i, j)) continue;
      const value = inModalityUnits(image, pixels[j * image.columns + i]!);
      count += 1;
      const step = value - mean;
      mean += step / count;
      squares += step * (value - mean);
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  }
  return count ? { count, mean, deviation: Math.sqrt(squares / count), min, max } : undefined;
}
