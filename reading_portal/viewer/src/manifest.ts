/** The study manifest: every header of a study in one small answer, attributes common to a series stated once. */
import { TAG, type Attributes } from "./attributes";
import { fetchJson } from "./page";

export interface Patient {
  name: string;
  sex: string;
  age: string;
  birth_date: string;
  patient_id: string;
}
export interface ManifestInstance {
  sop_instance_uid: string;
  frames: number;
  transfer_syntax_uid: string;
  original_transfer_syntax_uid?: string;
  varying: Attributes;
}
export interface ManifestSeries {
  series_instance_uid: string;
  modality: string;
  series_number: number | null;
  description: string;
  body_part: string;
  laterality: string;
  common: Attributes;
  instances: ManifestInstance[];
}
/** Another study of the same person. */
export interface Prior {
  study_instance_uid: string;
  study_date: string;
  description: string;
  modality: string;
  body_part?: string;
  /** Made after the study that is read. */
  is_later: boolean;
  manifest: string;
}
export interface Manifest {
  study_instance_uid: string;
  study_date: string;
  study_description: string;
  patient: Patient;
  series: ManifestSeries[];
  priors: Prior[];
}

export const fetchManifest = (url: string): Promise<Manifest> => fetchJson<Manifest>(url);

const SPACINGS = [TAG.pixelSpacing, TAG.imagerPixelSpacing];

/** The header of one instance: what the series shares, overlaid by what differs, without impossible spacings. */
export function mergedAttributes(series: ManifestSeries, instance: ManifestInstance): Attributes {
  const merged: Attributes = { ...series.common, ...instance.varying };
  dropImpossibleSpacing(merged);
  for (const tag of [TAG.shared, TAG.perFrame]) {
    const groups = merged[tag]?.Value as Attributes[] | undefined;
    if (groups?.some(hasImpossibleSpacing)) {
      merged[tag] = { vr: "SQ", Value: groups.map((group) => withoutImpossibleSpacing(group)) };
    }
  }
  return merged;
}

/** PixelSpacing 0\0 exists in the field and draws a black image without any error; such a spacing says nothing. */
function dropImpossibleSpacing(attributes: Attributes): void {
  for (const tag of SPACINGS) if (attributes[tag] && !isPossible(attributes[tag]?.Value)) delete attributes[tag];
}

function isPossible(values: unknown[] | undefined): boolean {
  return values?.length === 2 && values.every((value) => Number.isFinite(Number(value)) && Number(value) > 0);
}

function hasImpossibleSpacing(group: Attributes): boolean {
  const measures = group[TAG.pixelMeasures]?.Value?.[0] as Attributes | undefined;
  return !!measures?.[TAG.pixelSpacing] && !isPossible(measures[TAG.pixelSpacing]?.Value);
}

function withoutImpossibleSpacing(group: Attributes): Attributes {
  if (!hasImpossibleSpacing(group)) return group;
  const { [TAG.pixelSpacing]: _, ...measures } = group[TAG.pixelMeasures]?.Value?.[0] as Attributes;
  return { ...group, [TAG.pixelMeasures]: { vr: "SQ", Value: [measures] } };
}

/** The study to compare with first: an earlier one, of the same modality and body part, the nearest in time of these. */
export function mostComparable(manifest: Manifest): Prior | undefined {
  const [current] = manifest.series;
  const score = (prior: Prior): number => (prior.is_later ? 0 : 4)
    + (prior.modality.split("\\").includes(current?.modality ?? "") ? 2 : 0)
    + (!!prior.body_part && prior.body_part === current?.body_part ? 1 : 0);
  // Of two that score alike both are earlier or both are later.
  const nearer = (a: Prior, b: Prior): number => b.study_date.localeCompare(a.study_date) * (a.is_later ? -1 : 1);
  return [...(manifest.priors ?? [])].sort((a, b) => score(b) - score(a) || nearer(a, b))[0];
}
