/** Small JPEGs of a whole series, so that scrolling shows something long before the lossless slices are here. */
import type { DisplaySet, Frame } from "./display_sets";

const QUERY = "?viewport=256,256&quality=60";
const AT_ONCE = 6;
const MOST = 1500;

export class PreviewStack {
  private readonly pictures = new Map<string, HTMLImageElement>();
  private readonly wanted = new Set<string>();

  /** The preview of a frame if it has arrived. */
  get(frame: Frame): HTMLImageElement | undefined {
    return this.pictures.get(frame.imageId);
  }

  /** One preview, at once; undefined where the server cannot draw it. */
  async load(frame: Frame): Promise<HTMLImageElement | undefined> {
    const known = this.pictures.get(frame.imageId);
    if (known) return known;
    const picture = new Image();
    picture.src = frame.renderedUrl + QUERY;
    try {
      await picture.decode();
    } catch {
      return undefined;
    }
    this.pictures.set(frame.imageId, picture);
    if (this.pictures.size > MOST) this.pictures.delete(this.pictures.keys().next().value as string);
    return picture;
  }

  /** All previews of a display set, from the slice on the screen outward; resolves when all have been tried. */
  async loadAll(displaySet: DisplaySet, from: number): Promise<void> {
    const order = outward(displaySet.frames.length, from).map((index) => displaySet.frames[index]!)
      .filter((frame) => !this.wanted.has(frame.imageId)).slice(0, MOST);
    order.forEach((frame) => this.wanted.add(frame.imageId));
    const worker = async (): Promise<void> => {
      for (let frame = order.shift(); frame; frame = order.shift()) await this.load(frame);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }
}

/** Indices 0…count-1, nearest to `from` first. */
export function outward(count: number, from: number): number[] {
  return Array.from({ length: count }, (_, index) => index).sort((a, b) => Math.abs(a - from) - Math.abs(b - from));
}
