/** What a measurement says beside itself: its figures, and who calibrated them. */
import { cache, metaData, type Types } from "@cornerstonejs/core";
import { TAG, text, type Attributes } from "./attributes";
import type { Frame } from "./display_sets";
import { calibrationText, figureText, linesOf, valueText } from "./figure_words";
import { ordered, read, type Ground, type Kind, type Reading } from "./figures";
import { pixelToWorld, worldToPixel, type Plane, type Point2 } from "./geometry";
import { valueAt } from "./pixels";

/** What Cornerstone keeps of an annotation, as far as we use it. */
export interface Annotated {
  handles?: { points?: Types.Point3[] };
  contour?: { polyline?: Types.Point3[] };
  /** Who drew it, where that was somebody else. */
  author?: string;
}
export interface Known {
  frame: Frame;
  studyInstanceUID: string;
}

/** Frames by image id; filled when a display set is opened. */
const frames = new Map<string, Known>();

export function rememberFrame(frame: Frame, studyInstanceUID: string): void {
  frames.set(frame.imageId, { frame, studyInstanceUID });
}

export const frameOf = (imageId: string): Known | undefined => frames.get(imageId);

/** The unit of a pixel value: HU for CT unless the file says otherwise (PS3.3 C.11.1). */
export function pixelUnit(attributes: Attributes): string {
  const type = text(attributes, TAG.rescaleType);
  if (type && type !== "US") return type;
  return text(attributes, TAG.modality) === "CT" ? "HU" : "";
}

/** How Cornerstone's tools ask for the lines beside an annotation. */
export function linesFor(kind: Kind): (data: Annotated, targetId: string | string[]) => string[] {
  return (data, targetId) => {
    const imageId = imageOf(targetId);
    const points = pixelsOf(data, imageId);
    const reading = points && readingAt(kind, points, imageId);
    if (!points || !reading) return [];
    const said = kind === "probe" ? probeLines(reading, points, imageId) : [...linesOf(reading), calibrationText(reading)];
    return data.author ? [...said, data.author] : said;
  };
}

export function readingAt(kind: Kind, points: Point2[], imageId: string): (Reading & { points: Point2[] }) | undefined {
  const ground = groundOf(imageId);
  const reading = ground && read(kind, points, ground);
  return reading && { ...reading, points: ordered(kind, points, ground) };
}

/** Not Cornerstone's worldToImageCoords: that divides rows by the column spacing and fails on oblong pixels. */
export function pixelsOf(data: Annotated, imageId: string): Point2[] | undefined {
  const plane = planeOf(imageId);
  const points = data.contour?.polyline?.length ? data.contour.polyline : data.handles?.points;
  return plane && points?.map((point) => worldToPixel(plane, point));
}

export function worldOf(points: Point2[], imageId: string): Types.Point3[] | undefined {
  const plane = planeOf(imageId);
  return plane && points.map((point) => pixelToWorld(plane, point));
}

function probeLines({ figures: [figure] }: Reading, [point]: Point2[], imageId: string): string[] {
  const place = `(${Math.round(point![0])}, ${Math.round(point![1])})`;
  const image = cache.getImage(imageId);
  if (figure) return [figureText(figure), place];
  const colour = image && valueAt(image, point!);
  return colour === undefined ? [] : [valueText(colour, ""), place];
}

const imageOf = (targetId: string | string[]): string => (Array.isArray(targetId) ? targetId[0] ?? "" : targetId).replace(/^imageId:/, "");

const planeOf = (imageId: string): Plane | undefined => metaData.get("imagePlaneModule", imageId) as Plane | undefined;

function groundOf(imageId: string): Ground | undefined {
  const known = frames.get(imageId);
  if (!known) return undefined;
  const { attributes } = known.frame.instance;
  return { attributes, frame: known.frame.number, image: cache.getImage(imageId), unit: pixelUnit(attributes) };
}
