/** Reading DICOM JSON (PS3.18 Annex F): attributes by tag, without a dictionary. */
export interface Element {
  vr: string;
  Value?: unknown[];
  BulkDataURI?: string;
  InlineBinary?: string;
}
export type Attributes = Record<string, Element>;

export const TAG = {
  imageType: "00080008",
  sopClassUID: "00080016",
  sopInstanceUID: "00080018",
  studyDate: "00080020",
  modality: "00080060",
  presentationIntent: "00080068",
  studyDescription: "00081030",
  seriesDescription: "0008103E",
  patientName: "00100010",
  bodyPart: "00180015",
  sliceThickness: "00180050",
  cineRate: "00180040",
  viewPosition: "00185101",
  frameTime: "00181063",
  frameTimeVector: "00181065",
  imagerPixelSpacing: "00181164",
  magnification: "00181114",
  regions: "00186011",
  instanceNumber: "00200013",
  patientOrientation: "00200020",
  position: "00200032",
  orientation: "00200037",
  frameOfReference: "00200052",
  laterality: "00200060",
  imageLaterality: "00200062",
  sliceLocation: "00201041",
  samplesPerPixel: "00280002",
  photometric: "00280004",
  numberOfFrames: "00280008",
  rows: "00280010",
  columns: "00280011",
  pixelSpacing: "00280030",
  pixelAspectRatio: "00280034",
  calibrationType: "00280A02",
  calibrationText: "00280A04",
  windowCenter: "00281050",
  windowWidth: "00281051",
  windowExplanation: "00281055",
  rescaleType: "00281054",
  lossy: "00282110",
  recommendedDisplayFrameRate: "00082144",
  viewCode: "00540220",
  shared: "52009229",
  perFrame: "52009230",
  pixelMeasures: "00289110",
  planePosition: "00209113",
  planeOrientation: "00209116",
} as const;

export function first(attributes: Attributes, tag: string): unknown {
  return attributes[tag]?.Value?.[0];
}

export function text(attributes: Attributes, tag: string): string {
  const value = first(attributes, tag);
  if (value && typeof value === "object") return personName(value);
  return value === undefined || value === null ? "" : String(value).trim();
}

export function numbers(attributes: Attributes, tag: string): number[] {
  const values = attributes[tag]?.Value ?? [];
  return values.map(Number).filter(Number.isFinite);
}

export function number(attributes: Attributes, tag: string): number | undefined {
  return numbers(attributes, tag)[0];
}

export function items(attributes: Attributes, tag: string): Attributes[] {
  return (attributes[tag]?.Value ?? []) as Attributes[];
}

/** A person name as read in China: ideographic if present, else alphabetic with blanks for carets. */
export function personName(value: unknown): string {
  if (typeof value === "string") return value.split("=")[0]?.replaceAll("^", " ").trim() ?? "";
  const groups = (value ?? {}) as { Alphabetic?: string; Ideographic?: string };
  return (groups.Ideographic || groups.Alphabetic || "").replaceAll("^", " ").trim();
}

/**
 * One attribute of one frame: from the per-frame functional group, else the shared one, else the dataset itself
 * (PS3.3 C.7.6.16). `frame` counts from 1.
 */
export function frameElement(attributes: Attributes, frame: number, group: string, tag: string): Element | undefined {
  const perFrame = items(attributes, TAG.perFrame)[frame - 1];
  const shared = items(attributes, TAG.shared)[0];
  for (const place of [perFrame, shared]) {
    const found = place && items(place, group)[0]?.[tag];
    if (found) return found;
  }
  return attributes[tag];
}

export function frameNumbers(attributes: Attributes, frame: number, group: string, tag: string): number[] {
  return (frameElement(attributes, frame, group, tag)?.Value ?? []).map(Number).filter(Number.isFinite);
}
