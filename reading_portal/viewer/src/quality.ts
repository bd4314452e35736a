/** How true the picture on the screen is, in words and colour, and told to the page around. */
import type { Frame } from "./display_sets";
import { word, type WordKey } from "./words";

export type Quality = "empty" | "preview" | "loading_lossy" | "lossy" | "lossless" | "failed";

export interface ViewportQuality {
  viewport: number;
  quality: Quality;
  study_instance_uid?: string;
  sop_instance_uid?: string;
  frame?: number;
}

export function finalQuality(frame: Frame): Quality {
  return frame.instance.isLossy ? "lossy" : "lossless";
}

export function markQuality(mark: HTMLElement, quality: Quality): void {
  mark.dataset["quality"] = quality;
  mark.textContent = quality === "empty" ? "" : word(quality as WordKey);
}

const SETTLED = new Set<Quality>(["lossless", "lossy", "empty"]);

/** `lossless`: all that the archive holds is on the screen; nothing is a preview, half loaded or missing. */
export function announceQuality(viewports: ViewportQuality[]): void {
  const opened = viewports.filter(({ study_instance_uid }) => study_instance_uid);
  const lossless = opened.length > 0 && opened.every(({ quality }) => SETTLED.has(quality));
  document.dispatchEvent(new CustomEvent("viewer:quality", { detail: { lossless, viewports } }));
}
