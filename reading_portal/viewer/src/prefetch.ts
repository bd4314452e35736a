/** Lossless slices ahead of the reader: always the nearest missing one next, paused while she waits for a slice. */
import { Enums, cache, imageLoader } from "@cornerstonejs/core";
import type { DisplaySet, Frame } from "./display_sets";
import { registerMetadata } from "./metadata";

const AT_ONCE = 4;

export interface PrefetchTarget {
  displaySet: DisplaySet;
  /** Asked again before every request, so that prefetching follows the reader. */
  index: () => number;
}

export class Prefetch {
  private targets: PrefetchTarget[] = [];
  private readonly underWay = new Set<string>();
  private readonly failed = new Set<string>();
  private isPaused = false;

  constructor(private readonly changed: (displaySet: DisplaySet, loaded: number) => void) {}

  /** What to bring, most important first; whatever is under way may finish. */
  follow(targets: PrefetchTarget[]): void {
    this.targets = targets;
    this.pump();
  }

  pause(isPaused: boolean): void {
    this.isPaused = isPaused;
    if (!isPaused) this.pump();
  }

  private pump(): void {
    while (!this.isPaused && this.underWay.size < AT_ONCE) {
      const next = this.next();
      if (!next) return;
      this.bring(next.displaySet, next.frame);
    }
  }

  private next(): { displaySet: DisplaySet; frame: Frame } | undefined {
    // Leave room: an evicted slice under the reader's eyes would be fetched again and again.
    if (cache.getCacheSize() > cache.getMaxCacheSize() * 0.85) return undefined;
    for (const { displaySet, index } of this.targets) {
      const from = index();
      let best: Frame | undefined;
      let distance = Infinity;
      displaySet.frames.forEach((frame, position) => {
        const away = Math.abs(position - from);
        if (away >= distance || !this.isMissing(frame)) return;
        best = frame;
        distance = away;
      });
      if (best) return { displaySet, frame: best };
    }
    return undefined;
  }

  private isMissing({ imageId }: Frame): boolean {
    return !this.underWay.has(imageId) && !this.failed.has(imageId) && !cache.isLoaded(imageId);
  }

  private bring(displaySet: DisplaySet, frame: Frame): void {
    this.underWay.add(frame.imageId);
    registerMetadata(displaySet)
      .then(() => imageLoader.loadAndCacheImage(frame.imageId, { requestType: Enums.RequestType.Prefetch, priority: 0 }))
      .catch(() => this.failed.add(frame.imageId))
      .finally(() => {
        this.underWay.delete(frame.imageId);
        this.changed(displaySet, loadedIn(displaySet));
        this.pump();
      });
  }
}

export const loadedIn = (displaySet: DisplaySet): number =>
  displaySet.frames.reduce((sum, frame) => sum + (cache.isLoaded(frame.imageId) ? 1 : 0), 0);
