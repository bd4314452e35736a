/** Headers handed to Cornerstone, once per instance. */
import { utilities as metadata } from "@cornerstonejs/metadata";
import { wadors } from "@cornerstonejs/dicom-image-loader";
import { TAG, type Attributes } from "./attributes";
import { aspectOf } from "./calibration";
import { streamProgressively } from "./cornerstone";
import type { DisplaySet } from "./display_sets";
import { resolvePalettes } from "./palettes";

const STREAMED = new Set(["CR", "DX", "MG", "RG"]);
const registrations = new Map<string, Promise<void>>();

/** Resolves when Cornerstone knows every header of the display set; asked twice, it does the work once. */
export function registerMetadata(displaySet: DisplaySet): Promise<void> {
  const known = registrations.get(displaySet.id);
  if (known) return known;
  const registration = register(displaySet);
  registrations.set(displaySet.id, registration);
  registration.catch(() => registrations.delete(displaySet.id));
  return registration;
}

/** Cornerstone 5 reads some modules from the loader's store and others from its own; both are needed. */
async function register(displaySet: DisplaySet): Promise<void> {
  for (const frame of displaySet.frames) {
    // Multi-frame objects are registered by their first frame; Cornerstone derives the others.
    if (frame.number !== 1) continue;
    const { attributes, transferSyntaxUID } = frame.instance;
    await resolvePalettes(attributes);
    const header = { ...withShape(attributes), "00083002": { vr: "UI", Value: [transferSyntaxUID] } };
    wadors.metaDataManager.add(frame.imageId, withListedVoiFunction(header) as never);
    metadata.addDicomWebInstance(frame.imageId, header as never);
    if (STREAMED.has(displaySet.modality)) streamProgressively(frame.imageId);
  }
}

/** Cornerstone draws pixels as its spacing says and knows no aspect ratio; lengths are ours to say (calibration.ts). */
function withShape(attributes: Attributes): Attributes {
  const hasSpacing = attributes[TAG.pixelSpacing] || attributes[TAG.imagerPixelSpacing] || attributes[TAG.shared];
  const aspect = aspectOf(attributes);
  return hasSpacing || aspect === 1 ? attributes : { ...attributes, [TAG.pixelSpacing]: { vr: "DS", Value: [aspect, 1] } };
}

const VOI_FUNCTION = "00281056";

/**
 * The loader takes the first character of VOILUTFunction for the function ("L", "S") and then refuses the image;
 * given as a list, and only when it is one of the three defined terms, it is read right (PS3.3 C.11.2.1.3).
 */
function withListedVoiFunction(header: Attributes): Attributes {
  const { [VOI_FUNCTION]: element, ...rest } = header;
  const name = String(element?.Value?.[0] ?? "");
  return ["LINEAR", "LINEAR_EXACT", "SIGMOID"].includes(name) ? { ...rest, [VOI_FUNCTION]: { vr: "CS", Value: [[name]] } } : rest;
}
