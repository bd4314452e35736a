/** A display set is what one viewport shows: a stack of slices, one projection image, one multi-frame object. */
import { TAG, first, items, number, text, type Attributes } from "./attributes";
import { mergedAttributes, type Manifest, type ManifestInstance, type ManifestSeries, type Patient } from "./manifest";
import { isLossy } from "./transfer_syntaxes";

export interface Instance {
  sopInstanceUID: string;
  attributes: Attributes;
  transferSyntaxUID: string;
  frames: number;
  isLossy: boolean;
}
export interface Frame {
  imageId: string;
  renderedUrl: string;
  instance: Instance;
  /** Counts from 1 within its instance. */
  number: number;
}
/** What the study of a display set is to the one that is read. */
export type Standing = "current" | "prior" | "later";
export interface DisplaySet {
  id: string;
  studyInstanceUID: string;
  seriesInstanceUID: string;
  studyDate: string;
  studyDescription: string;
  patient: Patient;
  modality: string;
  seriesNumber: number | null;
  description: string;
  bodyPart: string;
  laterality: string;
  view: string;
  standing: Standing;
  /** Frames are in time rather than in space. */
  isMultiFrame: boolean;
  /** Empty for objects without pixels (reports, presentation states, waveforms). */
  frames: Frame[];
}

/** Every image of these is a picture of its own, with its own window: one display set per instance. */
const PROJECTIONS = new Set(["CR", "DX", "MG", "IO", "PX", "RG"]);

export function displaySetsOf(manifest: Manifest, dicomweb: string, standing: Standing = "current"): DisplaySet[] {
  return manifest.series.flatMap((series) => splitSeries(series).map((group, index) => {
    const instances = group.map((instance) => readInstance(series, instance));
    const head = instances[0]?.attributes ?? series.common;
    const base = `${dicomweb}/studies/${manifest.study_instance_uid}/series/${series.series_instance_uid}/instances/`;
    const frames = instances.flatMap((instance) => framesOf(instance, base));
    return {
      id: `${series.series_instance_uid}/${index}`,
      studyInstanceUID: manifest.study_instance_uid,
      seriesInstanceUID: series.series_instance_uid,
      studyDate: manifest.study_date,
      studyDescription: manifest.study_description,
      patient: manifest.patient,
      modality: series.modality || text(head, TAG.modality),
      seriesNumber: series.series_number,
      description: series.description || text(head, TAG.seriesDescription),
      bodyPart: series.body_part || text(head, TAG.bodyPart),
      laterality: lateralityOf(head) || series.laterality,
      view: viewOf(head),
      standing,
      isMultiFrame: instances.length === 1 && frames.length > 1 && !hasPositions(head),
      frames,
    };
  }));
}

function splitSeries(series: ManifestSeries): ManifestInstance[][] {
  const alone: ManifestInstance[][] = [];
  const stack: ManifestInstance[] = [];
  for (const instance of series.instances) {
    if (PROJECTIONS.has(series.modality) || instance.frames > 1) alone.push([instance]);
    else stack.push(instance);
  }
  return stack.length ? [stack, ...alone] : alone;
}

function readInstance(series: ManifestSeries, instance: ManifestInstance): Instance {
  const attributes = mergedAttributes(series, instance);
  const original = instance.original_transfer_syntax_uid || instance.transfer_syntax_uid;
  return {
    sopInstanceUID: instance.sop_instance_uid,
    attributes,
    transferSyntaxUID: instance.transfer_syntax_uid,
    frames: Math.max(1, instance.frames || 1),
    isLossy: isLossy(original, text(attributes, TAG.lossy)),
  };
}

function framesOf(instance: Instance, base: string): Frame[] {
  if (!isImage(instance.attributes)) return [];
  const root = `${base}${instance.sopInstanceUID}`;
  return Array.from({ length: instance.frames }, (_, index) => ({
    imageId: `wadors:${location.origin}${root}/frames/${index + 1}`,
    renderedUrl: instance.frames > 1 ? `${root}/frames/${index + 1}/rendered` : `${root}/rendered`,
    instance,
    number: index + 1,
  }));
}

/** Reports, presentation states, waveforms, RT structures and encapsulated documents have no matrix. */
export function isImage(attributes: Attributes): boolean {
  return (number(attributes, TAG.rows) ?? 0) > 0 && (number(attributes, TAG.columns) ?? 0) > 0;
}

function hasPositions(attributes: Attributes): boolean {
  const group = items(attributes, TAG.perFrame)[0];
  return !!group && items(group, TAG.planePosition).length > 0;
}

export function lateralityOf(attributes: Attributes): string {
  return text(attributes, TAG.imageLaterality) || text(attributes, TAG.laterality);
}

/** MG: the view code's abbreviation (PS3.16 CID 4014); others: ViewPosition. */
export function viewOf(attributes: Attributes): string {
  const code = items(attributes, TAG.viewCode)[0];
  const meaning = code ? String(first(code, "00080104") ?? "") : "";
  const known: [RegExp, string][] = [[/medio-?lateral oblique/i, "MLO"], [/cranio-?caudal/i, "CC"], [/medio-?lateral/i, "ML"],
    [/latero-?medial/i, "LM"]];
  return known.find(([pattern]) => pattern.test(meaning))?.[1] ?? text(attributes, TAG.viewPosition);
}
