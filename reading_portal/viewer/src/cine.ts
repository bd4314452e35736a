/** Plays a multi-frame object or a stack; waits for a frame rather than skipping it. */
import { cache } from "@cornerstonejs/core";
import { TAG, number, numbers } from "./attributes";
import type { DisplaySet } from "./display_sets";
import type { ReadingViewport } from "./viewport";

const SLOWEST = 1, FASTEST = 60, OF_STACKS = 15;

export class Cine {
  private readonly timers = new Map<ReadingViewport, number>();
  /** What the reader made of a display set's own speed. */
  private readonly factors = new Map<string, number>();

  isPlaying(viewport: ReadingViewport): boolean {
    return this.timers.has(viewport);
  }

  toggle(viewport: ReadingViewport): void {
    if (this.isPlaying(viewport)) this.stop(viewport);
    else this.play(viewport);
  }

  stop(viewport: ReadingViewport): void {
    clearTimeout(this.timers.get(viewport));
    this.timers.delete(viewport);
    viewport.cell.classList.remove("is-playing");
  }

  /** Answers the frames per second from now on; undefined where nothing plays. */
  changeSpeed(viewport: ReadingViewport, factor: number): number | undefined {
    const { displaySet } = viewport;
    if (!displaySet || displaySet.frames.length < 2) return undefined;
    const own = framesPerSecond(displaySet);
    const wanted = own * this.factorOf(displaySet) * factor;
    const rate = Math.max(SLOWEST, Math.min(FASTEST, wanted));
    this.factors.set(displaySet.id, rate / own);
    return rate;
  }

  private play(viewport: ReadingViewport): void {
    const { displaySet } = viewport;
    if (!displaySet || displaySet.frames.length < 2) return;
    viewport.cell.classList.add("is-playing");
    const again = (): void => {
      this.timers.set(viewport, window.setTimeout(step, frameDuration(displaySet, viewport.index) / this.factorOf(displaySet)));
    };
    const step = (): void => {
      if (viewport.displaySet !== displaySet) return this.stop(viewport);
      const next = (viewport.index + 1) % displaySet.frames.length;
      if (cache.isLoaded(displaySet.frames[next]!.imageId) || viewport.quality !== "preview") viewport.scrollTo(next);
      again();
    };
    again();
  }

  private factorOf(displaySet: DisplaySet): number {
    return this.factors.get(displaySet.id) ?? 1;
  }
}

/** How long a frame stays, in ms: as the Frame Time Vector says (PS3.3 C.7.6.5.1.2), else all alike. */
export function frameDuration(displaySet: DisplaySet, index: number): number {
  const frame = displaySet.frames[index];
  // Its first value is 0, the time before the first frame; so the next value is what this frame lasts.
  const times = frame ? numbers(frame.instance.attributes, TAG.frameTimeVector) : [];
  const own = frame && times.length === frame.instance.frames ? times[frame.number] : undefined;
  return own && own > 0 ? Math.max(1000 / FASTEST, Math.min(1000 / SLOWEST, own)) : 1000 / framesPerSecond(displaySet);
}

/** The rate that the object asks for (PS3.3 C.7.6.5), between 1 and 60; 15 for stacks. */
export function framesPerSecond(displaySet: DisplaySet): number {
  const attributes = displaySet.frames[0]?.instance.attributes ?? {};
  const times = numbers(attributes, TAG.frameTimeVector).filter((time) => time > 0);
  const frameTime = number(attributes, TAG.frameTime) || (times.length ? times.reduce((sum, time) => sum + time, 0) / times.length : undefined);
  const asked = number(attributes, TAG.recommendedDisplayFrameRate) ?? number(attributes, TAG.cineRate)
    ?? (frameTime ? 1000 / frameTime : undefined);
  return Math.max(SLOWEST, Math.min(FASTEST, asked || OF_STACKS));
}
