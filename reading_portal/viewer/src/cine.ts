/** Plays a multi-frame object or a stack; waits for a frame rather than skipping it. */
import { cache } from "@cornerstonejs/core";
import { TAG, number } from "./attributes";
import type { DisplaySet } from "./display_sets";
import type { ReadingViewport } from "./viewport";

export class Cine {
  private readonly timers = new Map<ReadingViewport, number>();

  isPlaying(viewport: ReadingViewport): boolean {
    return this.timers.has(viewport);
  }

  toggle(viewport: ReadingViewport): void {
    if (this.isPlaying(viewport)) this.stop(viewport);
    else this.play(viewport);
  }

  stop(viewport: ReadingViewport): void {
    clearInterval(this.timers.get(viewport));
    this.timers.delete(viewport);
    viewport.cell.classList.remove("is-playing");
  }

  private play(viewport: ReadingViewport): void {
    const { displaySet } = viewport;
    if (!displaySet || displaySet.frames.length < 2) return;
    viewport.cell.classList.add("is-playing");
    this.timers.set(viewport, window.setInterval(() => {
      if (viewport.displaySet !== displaySet) return this.stop(viewport);
      const next = (viewport.index + 1) % displaySet.frames.length;
      if (cache.isLoaded(displaySet.frames[next]!.imageId) || viewport.quality !== "preview") viewport.scrollTo(next);
    }, 1000 / framesPerSecond(displaySet)));
  }
}

/** The rate that the object asks for (PS3.3 C.7.6.5), between 1 and 60; 15 for stacks. */
export function framesPerSecond(displaySet: DisplaySet): number {
  const attributes = displaySet.frames[0]?.instance.attributes ?? {};
  const frameTime = number(attributes, TAG.frameTime);
  const asked = number(attributes, TAG.recommendedDisplayFrameRate) ?? number(attributes, TAG.cineRate)
    ?? (frameTime ? 1000 / frameTime : undefined);
  return Math.max(1, Math.min(60, asked || 15));
}
