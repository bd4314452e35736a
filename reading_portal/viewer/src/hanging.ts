/** Which display set stands where when a study opens: rules by modality, as tables. */
import { TAG, text } from "./attributes";
import type { DisplaySet } from "./display_sets";
import type { Layout } from "./layouts";

export interface Hanging {
  layout: Layout;
  displaySets: (DisplaySet | undefined)[];
}

/** Screening order, right breast on the reader's left, chest walls meeting in the middle (IHE Mammography Image). */
const MAMMOGRAPHY: [laterality: string, view: string][] = [["R", "CC"], ["L", "CC"], ["R", "MLO"], ["L", "MLO"]];
const RADIOGRAPHY = new Set(["CR", "DX", "RG"]);

export function hangingFor(displaySets: DisplaySet[]): Hanging {
  const images = displaySets.filter((set) => set.frames.length > 0);
  const mammograms = images.filter((set) => set.modality === "MG");
  if (mammograms.length > 1) {
    const views = MAMMOGRAPHY.map(([side, view]) => mammograms.find((set) => set.laterality === side && set.view === view));
    if (views.some(Boolean)) return { layout: "2x2", displaySets: views };
  }
  if (images.length === 2 && images.every((set) => RADIOGRAPHY.has(set.modality))) {
    return { layout: "1x2", displaySets: [...images].sort((a, b) => Number(isLateral(a)) - Number(isLateral(b))) };
  }
  const opening = images.find((set) => !isLocalizer(set)) ?? images[0] ?? displaySets[0];
  return { layout: "1x1", displaySets: [opening] };
}

function isLateral(set: DisplaySet): boolean {
  return /^(LL|RL|LAT|LATERAL)$/i.test(set.view) || /\b(lat|lateral)\b|侧位/i.test(set.description);
}

function isLocalizer(set: DisplaySet): boolean {
  const type = set.frames[0]?.instance.attributes[TAG.imageType]?.Value ?? [];
  return type.includes("LOCALIZER") || /scout|topogram|localizer|定位/i.test(set.description);
}

/**
 * Whether a mammogram must be mirrored so that its chest wall faces the middle of the screen.
 * PatientOrientation's first value tells where columns run to: to the nipple (A) or to the chest wall (P).
 */
export function mirrorsMammogram(set: DisplaySet): boolean {
  if (set.modality !== "MG") return false;
  const attributes = set.frames[0]?.instance.attributes ?? {};
  const rows = text(attributes, TAG.patientOrientation);
  return (set.laterality === "R" && rows.startsWith("A")) || (set.laterality === "L" && rows.startsWith("P"));
}
