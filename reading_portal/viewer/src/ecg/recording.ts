/** The ECG as the server decodes it: microvolts by lead, with the device's own measurements. */
import { fetchJson } from "../page";

export interface Lead {
  name: string;
  unit: string;
  /** False when the file gives no sensitivity: time may be measured, amplitude may not. */
  calibrated: boolean;
  /** Microvolts; null where the device recorded nothing. */
  samples_uv: (number | null)[];
}
export interface Group {
  label: string;
  originality: string;
  sampling_frequency: number;
  time_offset_ms: number;
  leads: Lead[];
  filters?: { low_hz?: number | null; high_hz?: number | null; notch_hz?: number | null };
}
export interface DeviceMeasurements {
  heart_rate?: number | null;
  pr_ms?: number | null;
  qrs_ms?: number | null;
  qt_ms?: number | null;
  qtc_ms?: number | null;
  p_axis?: number | null;
  qrs_axis?: number | null;
  t_axis?: number | null;
}
export interface Recording {
  groups: Group[];
  measurements?: DeviceMeasurements;
  statements?: string[];
  annotations?: unknown[];
}

export const STANDARD_LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];

/** The ECG lies beside the study's manifest. */
export const fetchRecording = (manifestUrl: string): Promise<Recording> =>
  fetchJson<Recording>(manifestUrl.replace(/\/manifest$/, "/ecg"));

const isMedian = (group: Group): boolean => /median/i.test(group.label) || group.originality === "DERIVED";

export const rhythmOf = (recording: Recording): Group | undefined =>
  recording.groups.find((group) => !isMedian(group)) ?? recording.groups[0];

export const medianOf = (recording: Recording): Group | undefined => recording.groups.find(isMedian);

/** Seconds that a group lasts. */
export const durationOf = (group: Group): number =>
  Math.max(0, ...group.leads.map(({ samples_uv }) => samples_uv.length)) / group.sampling_frequency;

/** Leads in the customary order; others (X, Y, Z, V7 …) after them. */
export function leadNames(group: Group): string[] {
  const names = group.leads.map(({ name }) => name);
  return [...STANDARD_LEADS.filter((name) => names.includes(name)), ...names.filter((name) => !STANDARD_LEADS.includes(name))];
}
