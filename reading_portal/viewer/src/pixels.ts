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

/**
 * Mean and standard deviation inside an ellipse given by its centre, half axes and turn (radians), all in pixels.
 * A pixel belongs to it when its centre does. Undefined for colour or when it covers no pixel.
 */
export function ellipseStatistics(image: Types.IImage, centre: Point2, axes: Point2, turn: number): Statistics | undefined {
  if (image.color) return undefined;
  const reach = Math.max(axes[0], axes[1]);
  const pixels = image.getPixelData();
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  let count = 0;
  let mean = 0;
  let squares = 0;
  let min = Infinity;
  let max = -Infinity;
  for (let j = Math.max(0, Math.ceil(centre[1] - reach)); j <= Math.min(image.rows - 1, centre[1] + reach); j += 1) {
    for (let i = Math.max(0, Math.ceil(centre[0] - reach)); i <= Math.min(image.columns - 1, centre[0] + reach); i += 1) {
      const x = i - centre[0];
      const y = j - centre[1];
      if (((x * cos + y * sin) / axes[0]) ** 2 + ((y * cos - x * sin) / axes[1]) ** 2 > 1) continue;
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
