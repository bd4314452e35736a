/** Cornerstone, started once, with the settings that this portal needs. */
import { Enums, RenderingEngine, cache, getShouldUseCPURendering, imageLoadPoolManager, imageRetrievalPoolManager, init as initCore,
  metaData, utilities } from "@cornerstonejs/core";
import { init as initLoader } from "@cornerstonejs/dicom-image-loader";
import { init as initTools } from "@cornerstonejs/tools";
import { MULTIPART, SINGLE_PART } from "./frame_types";

export const ENGINE = "reading";

const PROJECTION_STREAMING = { retrieveOptions: { single: { streaming: true } } };

export function startCornerstone(): RenderingEngine {
  // Two WebGL contexts serve any number of viewports; the default of seven costs a second on office graphics.
  initCore({ rendering: { webGlContextCount: 2, useCPURendering: prefersCPU() }, debug: {} });
  initTools();
  initLoader({
    maxWebWorkers: Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1)),
    // The streaming loader comes without an XHR. Only a multipart answer tells it that a frame is still incomplete;
    // from a single part it would try to decode half a frame.
    beforeSend: async (xhr: XMLHttpRequest | null) => ({ Accept: xhr ? SINGLE_PART : MULTIPART }),
  });
  metaData.addProvider(activityStaysActivity, 100_000);
  cache.setMaxCacheSize(cacheBytes());
  const { Interaction, Prefetch, Thumbnail } = Enums.RequestType;
  for (const pool of [imageLoadPoolManager, imageRetrievalPoolManager]) {
    pool.setMaxSimultaneousRequests(Interaction, 6);
    pool.setMaxSimultaneousRequests(Prefetch, 4);
    pool.setMaxSimultaneousRequests(Thumbnail, 2);
  }
  return new RenderingEngine(ENGINE);
}

/**
 * Cornerstone multiplies the pixels of a PET by an SUV factor of its own while the header's window and units stay in
 * Bq/ml: every figure would be another quantity. The pixels stay what the file says; suv.ts says the uptake.
 */
function activityStaysActivity(type: string, imageId: string): object | undefined {
  if (type !== "scalingModule") return undefined;
  const { modality } = (metaData.get("generalSeriesModule", imageId) ?? {}) as { modality?: string };
  return modality === "PT" ? {} : undefined;
}

/** A browser without WebGL falls back by itself; this is for drivers that lie. */
function prefersCPU(): boolean {
  return new URLSearchParams(location.search).get("rendering") === "cpu" || localStorage.getItem("viewer.rendering") === "cpu";
}

/** A quarter of the machine's memory, within what one tab survives (4 GB office PCs are common). */
function cacheBytes(): number {
  const gigabytes = (navigator as { deviceMemory?: number }).deviceMemory ?? 4;
  return Math.min(1.5, Math.max(0.4, gigabytes / 4)) * 2 ** 30;
}

export const usesCPU = (): boolean => getShouldUseCPURendering();

/** Show big radiographs coarse-to-fine while their bytes arrive. */
export function streamProgressively(imageId: string): void {
  utilities.imageRetrieveMetadataProvider.add(imageId, PROJECTION_STREAMING);
}
