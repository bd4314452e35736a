/**
 * The first frame without loss, long before the viewer can draw: a worker paints it over the server's preview, on a
 * canvas of its own, which the browser shows even while the viewer's code takes the page's thread. The viewer's own
 * image replaces it. Where the page says nothing of its frame, or anything fails, there is just the preview.
 */
import type { FirstFrame } from "./display_table";
import { markQuality } from "./quality";

/** Bubbles from the canvas once the frame is painted; a viewport that has a study open prevents the default mark. */
export const PAINTED = "frame:painted";
/** Said to the canvas by whoever takes it away. */
export const DROPPED = "frame:dropped";

/** Resolves when the worker can paint without the page's thread, or will not paint. */
export async function drawFirstFrame(section: HTMLElement): Promise<void> {
  const cell = section.querySelector<HTMLElement>(".viewport[data-frame]");
  const preview = cell?.querySelector("img.preview");
  if (!cell || !preview || !("transferControlToOffscreen" in HTMLCanvasElement.prototype)) return;
  const frame = JSON.parse(cell.dataset["frame"]!) as FirstFrame;
  const canvas = document.createElement("canvas");
  canvas.className = "first-frame";
  // Laid out before it is painted: the browser gives it its place while the page's thread is still free.
  [canvas.width, canvas.height] = [frame.columns, frame.rows];
  preview.after(canvas);
  const worker = new Worker(new URL("./first_frame_worker.ts", import.meta.url), { type: "module", name: "first frame" });
  const drop = (): void => { worker.terminate(); canvas.remove(); };
  canvas.addEventListener(DROPPED, drop);
  worker.addEventListener("error", () => canvas.dispatchEvent(new Event(DROPPED)));
  const said = (word: string): Promise<void> => new Promise((resolve) => {
    worker.addEventListener("message", ({ data }) => { if (data === word) resolve(); });
  });
  void said("failed").then(() => canvas.dispatchEvent(new Event(DROPPED)));
  void said("painted").then(() => painted(cell, canvas));
  const offscreen = canvas.transferControlToOffscreen();
  worker.postMessage({ frame, canvas: offscreen }, [offscreen]);
  await Promise.race([said("ready"), new Promise((resolve) => { canvas.addEventListener(DROPPED, resolve); })]);
}

function painted(cell: HTMLElement, canvas: HTMLCanvasElement): void {
  if (!canvas.isConnected) return;
  canvas.dataset["painted"] = "";
  const isOurs = canvas.dispatchEvent(new CustomEvent(PAINTED, { bubbles: true, cancelable: true }));
  const mark = cell.querySelector<HTMLElement>(".quality");
  if (isOurs && mark) markQuality(mark, "lossless");
}
