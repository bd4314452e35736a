/** What is read from points on a frame: our own arithmetic on pixels and calibration, checked against the file's truth. */
import type { Types } from "@cornerstonejs/core";
import type { Attributes } from "./attributes";
import { isIsotropic, lengthOf, scaleAt, type CalibrationSource, type Scale } from "./calibration";
import { angleAt, angleBetween, areaOf, type Point2 } from "./geometry";
import { ellipse, polygon, rectangle, statistics, valueAt, type Shape } from "./pixels";
import { suvFactor } from "./suv";

export type Kind = "length" | "angle" | "cobb" | "bidirectional" | "rectangle" | "ellipse" | "freehand" | "probe";
export type Quantity = "length" | "long_axis" | "short_axis" | "across" | "down" | "angle" | "area" | "mean" | "deviation" | "min" | "max" | "value";
export interface Figure {
  quantity: Quantity;
  value: number;
  unit: string;
}
export interface Reading {
  calibration: CalibrationSource;
  figures: Figure[];
}
/** Where points lie: a frame's header, and its pixels once they are here. */
export interface Ground {
  attributes: Attributes;
  /** Counts from 1. */
  frame: number;
  image: Types.IImage | undefined;
  /** Of a pixel's value: HU, or what the file says. */
  unit: string;
}

interface Read {
  ground: Ground;
  points: Point2[];
  scale: Scale;
}

const READERS: Record<Kind, (read: Read) => Figure[]> = {
  length: ({ points: [a, b], scale }) => line("length", scale, a!, b!),
  angle: ({ points, scale }) => {
    const [a, vertex, b] = points.map((point) => scaled(scale, point));
    return degrees(scale, angleAt(a!, vertex!, b!));
  },
  cobb: ({ points, scale }) => {
    const [a, b, c, d] = points.map((point) => scaled(scale, point));
    return degrees(scale, angleBetween(rightward(a!, b!), rightward(c!, d!)));
  },
  bidirectional: ({ points: [a, b, c, d], scale }) => {
    if (!isIsotropic(scale)) return [];
    const [long, short] = [lengthOf(scale, a!, b!), lengthOf(scale, c!, d!)].sort((one, other) => other - one) as [number, number];
    return [{ quantity: "long_axis", value: long, unit: scale.columnUnit }, { quantity: "short_axis", value: short, unit: scale.columnUnit }];
  },
  // Cornerstone's handles: the first corner, its neighbour in the row, its neighbour in the column, the opposite one.
  rectangle: ({ ground, points: [a, b, c], scale }) => [
    ...area(scale, lengthOf(scale, a!, b!) * lengthOf(scale, a!, c!)), ...inside(ground, rectangle(a!, b!, c!))],
  // Cornerstone's handles: the ends of one axis, then the ends of the other.
  ellipse: ({ ground, points: [bottom, top, left, right], scale }) => [
    ...area(scale, Math.PI / 4 * lengthOf(scale, bottom!, top!) * lengthOf(scale, left!, right!)),
    ...inside(ground, ellipse([top!, bottom!, left!, right!]))],
  freehand: ({ ground, points, scale }) => [
    ...area(scale, areaOf(points.map((point) => scaled(scale, point)))), ...inside(ground, polygon(points))],
  probe: ({ ground, points: [point] }) => {
    const value = ground.image && valueAt(ground.image, point!);
    return typeof value === "number" ? [inUptake(ground, { quantity: "value", value, unit: ground.unit })] : [];
  },
};

/** How many points a kind needs before there is anything to read. */
const LEAST: Record<Kind, number> = { length: 2, angle: 3, cobb: 4, bidirectional: 4, rectangle: 4, ellipse: 4, freehand: 3, probe: 1 };

export function read(kind: Kind, points: Point2[], ground: Ground): Reading | undefined {
  if (points.length < LEAST[kind]) return undefined;
  const scale = scaleAt(ground.attributes, ground.frame, points);
  return { calibration: scale.source, figures: READERS[kind]({ ground, points, scale }) };
}

/** The points as they are kept: of two diameters the longer first. */
export function ordered(kind: Kind, points: Point2[], ground: Ground): Point2[] {
  const [a, b, c, d] = points;
  if (kind !== "bidirectional" || !a || !b || !c || !d) return points;
  const scale = scaleAt(ground.attributes, ground.frame, points);
  return lengthOf(scale, c, d) > lengthOf(scale, a, b) ? [c, d, a, b] : points;
}

function line(quantity: Quantity, scale: Scale, a: Point2, b: Point2): Figure[] {
  if (isIsotropic(scale)) return [{ quantity, value: lengthOf(scale, a, b), unit: scale.columnUnit }];
  // A Doppler or M-mode region: time one way, distance or speed the other.
  return [{ quantity: "across", value: Math.abs(b[0] - a[0]) * scale.perColumn, unit: scale.columnUnit },
    { quantity: "down", value: Math.abs(b[1] - a[1]) * scale.perRow, unit: scale.rowUnit }];
}

function degrees(scale: Scale, value: number): Figure[] {
  return isIsotropic(scale) && Number.isFinite(value) ? [{ quantity: "angle", value, unit: "°" }] : [];
}

function area(scale: Scale, value: number): Figure[] {
  return isIsotropic(scale) ? [{ quantity: "area", value, unit: `${scale.columnUnit}²` }] : [];
}

function inside(ground: Ground, shape: Shape): Figure[] {
  const found = ground.image && statistics(ground.image, shape);
  return found ? (["mean", "deviation", "min", "max"] as const).map((quantity) =>
    inUptake(ground, { quantity, value: found[quantity], unit: ground.unit })) : [];
}

/** A PET's activity as SUV, wherever that is beyond doubt. */
function inUptake({ attributes }: Ground, figure: Figure): Figure {
  const factor = suvFactor(attributes);
  return factor === undefined ? figure : { ...figure, value: figure.value * factor, unit: "SUVbw" };
}

const scaled = (scale: Scale, [column, row]: Point2): Point2 => [column * scale.perColumn, row * scale.perRow];

/** An end plate has no direction: both are read from left to right, so that 100° stays 100°. */
const rightward = (a: Point2, b: Point2): Point2 => (b[0] >= a[0] ? [b[0] - a[0], b[1] - a[1]] : [a[0] - b[0], a[1] - b[1]]);
