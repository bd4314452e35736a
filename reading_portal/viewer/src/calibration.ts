/** How long a pixel is, and who says so. Never millimetres without a positive spacing. */
import { TAG, frameNumbers, items, number, numbers, text, type Attributes } from "./attributes";
import type { Point2 } from "./geometry";

export type CalibrationSource =
  | "pixel_spacing" | "geometry" | "fiducial" | "detector" | "magnification" | "region" | "outside_region" | "none";

export interface Scale {
  source: CalibrationSource;
  /** Length of one step to the next column and to the next row, in `columnUnit` and `rowUnit`. */
  perColumn: number;
  perRow: number;
  columnUnit: string;
  rowUnit: string;
}

const UNCALIBRATED: Scale = { source: "none", perColumn: 1, perRow: 1, columnUnit: "px", rowUnit: "px" };

/** PS3.3 C.8.5.5.1.15, and the factor that brings centimetres to the millimetres people expect. */
const REGION_UNITS: Record<number, [unit: string, factor: number]> = {
  3: ["mm", 10],
  4: ["ms", 1000],
  5: ["Hz", 1],
  7: ["cm/s", 1],
};

/** SOP classes where the detector sees a magnified shadow: PS3.3 C.8.7, C.8.1, C.8.11. */
const PROJECTION = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(1(\.[123](\.1)?)?|12\.[12](\.1)?)$/;

/** The scale that holds for a measurement between these pixels; `frame` counts from 1. */
export function scaleAt(attributes: Attributes, frame: number, points: Point2[]): Scale {
  const regions = items(attributes, TAG.regions);
  if (regions.length) return regionScale(regions, points);
  const spacing = frameNumbers(attributes, frame, TAG.pixelMeasures, TAG.pixelSpacing);
  const atDetector = numbers(attributes, TAG.imagerPixelSpacing);
  if (!PROJECTION.test(text(attributes, TAG.sopClassUID))) {
    return spacing.length === 2 ? millimetres(spacing, "pixel_spacing") : uncalibrated(attributes);
  }
  const type = text(attributes, TAG.calibrationType);
  if (spacing.length === 2 && type === "GEOMETRY") return millimetres(spacing, "geometry");
  if (spacing.length === 2 && type === "FIDUCIAL") return millimetres(spacing, "fiducial");
  if (spacing.length === 2 && atDetector.length === 2 && !isSame(spacing, atDetector)) {
    return millimetres(spacing, "pixel_spacing");
  }
  const magnification = number(attributes, TAG.magnification) ?? 0;
  if (atDetector.length === 2 && magnification > 1) {
    return millimetres(atDetector.map((value) => value / magnification), "magnification");
  }
  if (spacing.length === 2) return millimetres(spacing, "detector");
  return atDetector.length === 2 ? millimetres(atDetector, "detector") : uncalibrated(attributes);
}

/** Pixels, as wide as a column: an oblong one still makes angles and slanted lengths what they are (PS3.3 C.7.6.3.1.7). */
function uncalibrated(attributes: Attributes): Scale {
  return { ...UNCALIBRATED, perRow: aspectOf(attributes) };
}

/** How many columns' widths a row is high; 1 where nothing is said, or nonsense. */
export function aspectOf(attributes: Attributes): number {
  const [vertical = 0, horizontal = 0] = numbers(attributes, TAG.pixelAspectRatio);
  return vertical > 0 && horizontal > 0 ? vertical / horizontal : 1;
}

function millimetres(spacing: number[], source: CalibrationSource): Scale {
  const [perRow, perColumn] = spacing as [number, number];
  if (!(perRow > 0 && perColumn > 0)) return UNCALIBRATED;
  return { source, perColumn, perRow, columnUnit: "mm", rowUnit: "mm" };
}

const isSame = (a: number[], b: number[]): boolean => a.every((value, index) => Math.abs(value - b[index]!) < 1e-4);

/** A line may be measured only where both of its ends lie in one region: regions have scales of their own. */
function regionScale(regions: Attributes[], points: Point2[]): Scale {
  const region = regions.find((candidate) => points.every((point) => isInside(candidate, point)));
  if (!region) return { ...UNCALIBRATED, source: "outside_region" };
  const [columnUnit, columnFactor] = REGION_UNITS[number(region, "00186024") ?? 0] ?? ["", 0];
  const [rowUnit, rowFactor] = REGION_UNITS[number(region, "00186026") ?? 0] ?? ["", 0];
  const perColumn = Math.abs(number(region, "0018602C") ?? 0) * columnFactor;
  const perRow = Math.abs(number(region, "0018602E") ?? 0) * rowFactor;
  return perColumn > 0 && perRow > 0 ? { source: "region", perColumn, perRow, columnUnit, rowUnit } : UNCALIBRATED;
}

function isInside(region: Attributes, [column, row]: Point2): boolean {
  const edge = (tag: string): number => number(region, tag) ?? -1;
  return column >= edge("00186018") && column <= edge("0018601C") && row >= edge("0018601A") && row <= edge("0018601E");
}

/** Whether both axes are lengths (or both pixels), so that a slanted distance means something. */
export const isIsotropic = (scale: Scale): boolean => scale.columnUnit === scale.rowUnit;

/** Distance in the scale's unit; only for scales whose axes share one. */
export function lengthOf(scale: Scale, a: Point2, b: Point2): number {
  return Math.hypot((b[0] - a[0]) * scale.perColumn, (b[1] - a[1]) * scale.perRow);
}
