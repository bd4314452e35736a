/** Headers handed to Cornerstone, once per instance. */
import { utilities as metadata } from "@cornerstonejs/metadata";
import { wadors } from "@cornerstonejs/dicom-image-loader";
import { streamProgressively } from "./cornerstone";
import type { DisplaySet } from "./display_sets";
import { resolvePalettes } from "./palettes";

const STREAMED = new Set(["CR", "DX", "MG", "RG"]);
const registered = new Set<string>();

/** Cornerstone 5 reads some modules from the loader's store and others from its own; both are needed. */
export async function registerMetadata(displaySet: DisplaySet): Promise<void> {
  for (const frame of displaySet.frames) {
    // Multi-frame objects are registered by their first frame; Cornerstone derives the others.
    if (frame.number !== 1 || registered.has(frame.imageId)) continue;
    registered.add(frame.imageId);
    const { attributes, transferSyntaxUID } = frame.instance;
    await resolvePalettes(attributes);
    const header = { ...attributes, "00083002": { vr: "UI", Value: [transferSyntaxUID] } };
    wadors.metaDataManager.add(frame.imageId, header as never);
    metadata.addDicomWebInstance(frame.imageId, header as never);
    if (STREAMED.has(displaySet.modality)) streamProgressively(frame.imageId);
  }
}
