/** Window presets 1–9 by modality and region. */
import { regionOf, type Region } from "./body_parts";
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

/** On every CT 1–4 are the same; 5–9 are what is looked for in the region. */
const CT_ALWAYS: Preset[] = [
  absolute("preset_soft_tissue", 400, 40),
  absolute("preset_lung", 1500, -600),
  absolute("preset_bone", 2000, 350),
  absolute("preset_brain", 80, 40),
];
const ANGIO = absolute("preset_angio", 600, 200);
const MEDIASTINUM = absolute("preset_mediastinum", 350, 50);
const LIVER = absolute("preset_liver", 150, 60);
const METAL = absolute("preset_metal", 4000, 1000);

const CT_REGIONS: Partial<Record<Region, Preset[]>> = {
  head: [absolute("preset_stroke", 40, 40), absolute("preset_subdural", 200, 80), absolute("preset_posterior_fossa", 150, 40),
    absolute("preset_temporal_bone", 4000, 600), ANGIO],
  neck: [absolute("preset_neck", 300, 50), MEDIASTINUM, absolute("preset_airway", 1500, -400), METAL, ANGIO],
  chest: [MEDIASTINUM, absolute("preset_pulmonary_embolism", 700, 100), absolute("preset_emphysema", 800, -800),
    absolute("preset_ribs", 1500, 450), ANGIO],
  abdomen: [LIVER, absolute("preset_pancreas", 250, 45), absolute("preset_colon", 2000, -50), absolute("preset_stones", 1200, 300), ANGIO],
  pelvis: [LIVER, absolute("preset_colon", 2000, -50), absolute("preset_stones", 1200, 300), METAL, ANGIO],
  spine: [absolute("preset_disc", 250, 50), absolute("preset_cord", 150, 40), METAL, MEDIASTINUM, ANGIO],
  arm: [absolute("preset_disc", 250, 50), METAL, ANGIO],
  leg: [absolute("preset_disc", 250, 50), METAL, ANGIO],
};
const CT_ELSEWHERE: Preset[] = [MEDIASTINUM, LIVER, absolute("preset_stroke", 40, 40), absolute("preset_subdural", 200, 80), ANGIO];

const GENERIC: Preset[] = [
  relative("preset_default", 1),
  relative("preset_narrow", 0.6),
  relative("preset_wide", 1.6),
  relative("preset_darker", 1, 1.25),
  relative("preset_brighter", 1, 0.75),
];

/** Bones are looked at in their own contrast, lungs in a wider one, soft parts in a narrower. */
const RADIOGRAPHS: Partial<Record<Region, Preset[]>> = {
  chest: [relative("preset_ribs", 0.7, 0.9), relative("preset_lung", 1.3, 1.1), relative("preset_mediastinum", 0.8, 0.6)],
  breast: [relative("preset_calcification", 0.5, 0.85), relative("preset_skin_line", 2.2, 1.2)],
};
const BONES: Preset[] = [relative("preset_bone", 0.7, 0.85), relative("preset_soft_tissue", 0.8, 1.3)];
const RADIOGRAPHY = new Set(["CR", "DX", "MG", "RG", "RF"]);

/** Nine at most, in the order of the keys. */
export function presetsFor(modality: string, bodyPart = ""): Preset[] {
  const region = regionOf(bodyPart) ?? (modality === "MG" ? "breast" : undefined);
  if (modality === "CT") return [...CT_ALWAYS, ...(region && CT_REGIONS[region] || CT_ELSEWHERE)];
  if (RADIOGRAPHY.has(modality)) return [...GENERIC, ...(region ? RADIOGRAPHS[region] ?? BONES : [])];
  return GENERIC;
}

/** Region → the CT preset that opens a series whose header brings no window. */
const OPENING: Partial<Record<Region, WordKey>> = {
  head: "preset_brain", chest: "preset_mediastinum", spine: "preset_bone", arm: "preset_bone", leg: "preset_bone",
};

export function openingPreset(modality: string, bodyPart: string): Preset | undefined {
  if (modality !== "CT") return undefined;
  const region = regionOf(bodyPart);
  const name = /LUNG|肺/i.test(bodyPart) ? "preset_lung" : region && OPENING[region] || "preset_soft_tissue";
  return presetsFor("CT", bodyPart).find((preset) => preset.name === name);
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
