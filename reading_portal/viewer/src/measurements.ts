/** What a measurement says: our own arithmetic on pixels and calibration, checked against the file's truth. */
import { cache, metaData, type Types } from "@cornerstonejs/core";
import { TAG, text, type Attributes } from "./attributes";
import { isIsotropic, lengthOf, lengthText, scaleAt, type Scale } from "./calibration";
import { angleAt, worldToPixel, type Plane, type Point2 } from "./geometry";
import { ellipseStatistics, valueAt } from "./pixels";
import { word, type WordKey } from "./words";

interface Annotated {
  handles: { points: Types.Point3[] };
}
interface Place {
  image: Types.IImage | undefined;
  attributes: Attributes;
  frame: number;
  points: Point2[];
}

/** Headers by image id; filled when a display set is opened. */
const headers = new Map<string, { attributes: Attributes; frame: number }>();

export function rememberHeader(imageId: string, attributes: Attributes, frame: number): void {
  headers.set(imageId, { attributes, frame });
}

/** The unit of a pixel value: HU for CT unless the file says otherwise (PS3.3 C.11.1). */
export function pixelUnit(attributes: Attributes): string {
  const type = text(attributes, TAG.rescaleType);
  if (type && type !== "US") return type;
  return text(attributes, TAG.modality) === "CT" ? "HU" : "";
}

export function lengthLines(data: Annotated, targetId: string): string[] {
  const place = placeOf(data, targetId);
  const [a, b] = place?.points ?? [];
  if (!place || !a || !b) return [];
  const scale = scaleAt(place.attributes, place.frame, [a, b]);
  return [...lengthText(scale, a, b), sourceText(scale)];
}

export function angleLines(data: Annotated, targetId: string): string[] {
  const place = placeOf(data, targetId);
  const [a, vertex, b] = place?.points ?? [];
  if (!place || !a || !vertex || !b) return [];
  const scale = scaleAt(place.attributes, place.frame, [a, vertex, b]);
  if (!isIsotropic(scale)) return [sourceText(scale)];
  const scaled = [a, vertex, b].map(([column, row]) => [column * scale.perColumn, row * scale.perRow] as Point2);
  return [`${angleAt(scaled[0]!, scaled[1]!, scaled[2]!).toFixed(1)}°`];
}

export function ellipseLines(data: Annotated, targetId: string): string[] {
  const place = placeOf(data, targetId);
  // Cornerstone's handles: the ends of one axis, then the ends of the other.
  const [bottom, top, left, right] = place?.points ?? [];
  if (!place || !bottom || !top || !left || !right) return [];
  const scale = scaleAt(place.attributes, place.frame, [bottom, top, left, right]);
  const lines: string[] = [];
  if (isIsotropic(scale)) {
    const area = Math.PI / 4 * lengthOf(scale, bottom, top) * lengthOf(scale, left, right);
    lines.push(`${word("area")} ${area.toFixed(1)} ${scale.columnUnit}²`);
  }
  const centre: Point2 = [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2];
  const axes: Point2 = [Math.hypot(right[0] - left[0], right[1] - left[1]) / 2,
    Math.hypot(top[0] - bottom[0], top[1] - bottom[1]) / 2];
  const turn = Math.atan2(right[1] - left[1], right[0] - left[0]);
  const found = place.image && axes[0] > 0 && axes[1] > 0 ? ellipseStatistics(place.image, centre, axes, turn) : undefined;
  if (found) {
    const unit = pixelUnit(place.attributes);
    lines.push(`${word("mean")} ${found.mean.toFixed(1)} ${unit}`, `${word("deviation")} ${found.deviation.toFixed(1)}`,
      `${word("range")} ${rounded(found.min)} … ${rounded(found.max)}`);
  }
  return [...lines, sourceText(scale)];
}

export function probeLines(data: Annotated, targetId: string): string[] {
  const place = placeOf(data, targetId);
  const point = place?.points[0];
  const value = place?.image && point ? valueAt(place.image, point) : undefined;
  if (!place || !point || value === undefined) return [];
  return [valueText(value, pixelUnit(place.attributes)), `(${Math.round(point[0])}, ${Math.round(point[1])})`];
}

export function valueText(value: number | number[], unit: string): string {
  return Array.isArray(value) ? `RGB ${value.join(" ")}` : `${rounded(value)} ${unit}`.trim();
}

const rounded = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));

const sourceText = (scale: Scale): string => word(`cal_${scale.source}` as WordKey);

/** Not Cornerstone's worldToImageCoords: that divides rows by the column spacing and fails on oblong pixels. */
function placeOf(data: Annotated, targetId: string): Place | undefined {
  const imageId = targetId.replace(/^imageId:/, "");
  const plane = metaData.get("imagePlaneModule", imageId) as Plane | undefined;
  const header = headers.get(imageId);
  if (!plane || !header) return undefined;
  return { ...header, image: cache.getImage(imageId), points: data.handles.points.map((point) => worldToPixel(plane, point)) };
}
