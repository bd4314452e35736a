/** Where the slice of one viewport cuts the picture in another: within one frame of reference, and only there. */
import { TAG, text } from "./attributes";
import { cross, dot, pixelToWorld, type Plane, type Point2, type Point3 } from "./geometry";
import type { ReadingViewport } from "./viewport";

/** Cosine of the angle from which on two slices are as good as parallel: their line would jump with every rounding. */
const PARALLEL = 0.98;
const SVG = "http://www.w3.org/2000/svg";

export interface Picture extends Plane {
  rows: number;
  columns: number;
}

/** The ends of the line in which a picture lies on the plane of another, in mm; undefined where it does not reach it. */
export function crossingOf(picture: Picture, plane: Plane): [Point3, Point3] | undefined {
  const normal = cross(plane.rowCosines, plane.columnCosines);
  if (Math.abs(dot(normal, cross(picture.rowCosines, picture.columnCosines))) > PARALLEL) return undefined;
  const [right, bottom] = [picture.columns - 0.5, picture.rows - 0.5];
  const corners = ([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]] as Point2[]).map((pixel) => pixelToWorld(picture, pixel));
  const above = corners.map((corner) => dot(normal, corner) - dot(normal, plane.imagePositionPatient));
  const ends = corners.flatMap((corner, at) => {
    const next = (at + 1) % 4;
    const [here, there] = [above[at]!, above[next]!];
    if (here < 0 === there < 0) return [];
    const share = here / (here - there);
    return [corner.map((value, axis) => value + share * (corners[next]![axis]! - value)) as Point3];
  });
  return ends.length === 2 ? [ends[0]!, ends[1]!] : undefined;
}

/** Draw on `target` where the slice of `source` lies, or take the line away. */
export function drawReferenceLine(target: ReadingViewport, source: ReadingViewport | undefined): void {
  const ends = source && source !== target ? endsOn(target, source) : undefined;
  const drawn = target.cell.querySelector<SVGSVGElement>("svg.reference-line");
  if (!ends) {
    drawn?.remove();
    return;
  }
  const svg = drawn ?? target.cell.appendChild(document.createElementNS(SVG, "svg"));
  svg.classList.add("reference-line");
  const line = svg.querySelector("line") ?? svg.appendChild(document.createElementNS(SVG, "line"));
  const [[x1, y1], [x2, y2]] = ends;
  for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) line.setAttribute(name, value.toFixed(2));
}

function endsOn(target: ReadingViewport, source: ReadingViewport): [Point2, Point2] | undefined {
  const [picture, plane] = [pictureOf(source), target.plane()];
  if (!picture || !plane || !isOneSpace(source, target)) return undefined;
  const ends = crossingOf(picture, plane);
  return ends?.map((end) => target.stack.worldToCanvas(end) as Point2) as [Point2, Point2] | undefined;
}

function pictureOf(viewport: ReadingViewport): Picture | undefined {
  const plane = viewport.plane();
  const attributes = viewport.frame?.instance.attributes;
  if (!plane?.rowCosines || !plane.imagePositionPatient || !attributes) return undefined;
  return { ...plane, rows: Number(attributes[TAG.rows]?.Value?.[0]), columns: Number(attributes[TAG.columns]?.Value?.[0]) };
}

/** One frame of reference, and of one study: devices have given the same UID to another day. */
function isOneSpace(a: ReadingViewport, b: ReadingViewport): boolean {
  const [one, other] = [a, b].map((viewport) => {
    const attributes = viewport.frame?.instance.attributes;
    return attributes ? text(attributes, TAG.frameOfReference) : "";
  });
  return !!one && one === other && a.displaySet?.studyInstanceUID === b.displaySet?.studyInstanceUID;
}
