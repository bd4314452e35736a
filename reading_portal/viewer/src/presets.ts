/** Window presets, keys 1–9: the number means the same window on every study of a modality. */
import type { WordKey } from "./words";

export interface Preset {
  name: WordKey;
  /** Absolute window in modality units, or factors of the image's own window. */
  width: number;
  center: number;
  isRelative?: boolean;
}

const absolute = (name: WordKey, width: number, center: number): Preset => ({ name, width, center });
const relative = (name: WordKey, width: number, center = 1): Preset => ({ name, width, center, isRelative: true });

const CT: Preset[] = [
  absolute("preset_soft_tissue", 400, 40),
  absolute("preset_lung", 1500, -600),
  absolute("preset_bone", 2000, 350),
  absolute("preset_brain", 80, 40),
  absolute("preset_mediastinum", 350, 50),
  absolute("preset_liver", 150, 60),
  absolute("preset_stroke", 40, 40),
  absolute("preset_subdural", 200, 80),
  absolute("preset_angio", 600, 200),
];

const GENERIC: Preset[] = [
  relative("preset_default", 1),
  relative("preset_narrow", 0.6),
  relative("preset_wide", 1.6),
  relative("preset_darker", 1, 1.25),
  relative("preset_brighter", 1, 0.75),
];

export const PRESETS: Record<string, Preset[]> = { CT, MR: GENERIC, CR: GENERIC, DX: GENERIC, MG: GENERIC };

export const presetsFor = (modality: string): Preset[] => PRESETS[modality] ?? GENERIC;

/** Body part → the CT preset that opens a series whose header brings no window. */
const OPENING: [RegExp, WordKey][] = [
  [/LUNG|肺/i, "preset_lung"],
  [/HEAD|BRAIN|SKULL|头|颅|脑/i, "preset_brain"],
  [/CHEST|THORAX|胸/i, "preset_mediastinum"],
  [/SPINE|KNEE|HIP|ANKLE|FOOT|HAND|WRIST|ELBOW|SHOULDER|EXTREMITY|骨|脊|膝|腕|肩/i, "preset_bone"],
  [/./, "preset_soft_tissue"],
];

export function openingPreset(modality: string, bodyPart: string): Preset | undefined {
  if (modality !== "CT") return undefined;
  const name = OPENING.find(([pattern]) => pattern.test(bodyPart || "-"))?.[1];
  return CT.find((preset) => preset.name === name);
}

export interface Window {
  width: number;
  center: number;
}

export function windowOf(preset: Preset, own: Window): Window {
  if (!preset.isRelative) return { width: preset.width, center: preset.center };
  // A brighter picture is a lower centre; shift by the window's width, for centres may be zero or negative.
  return { width: Math.max(1, own.width * preset.width), center: own.center + own.width * (preset.center - 1) };
}
