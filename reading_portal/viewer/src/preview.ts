/** The preview over a viewport: the server's first picture and the same frame without loss, later the slice on its way. */
import type { Frame } from "./display_sets";
import { DROPPED } from "./first_frame";
import type { Point2 } from "./geometry";

export class Preview {
  private readonly canvas: HTMLCanvasElement;
  private first: HTMLImageElement | null;
  private readonly firstFrame: HTMLCanvasElement | null;

  constructor(private readonly cell: HTMLElement) {
    this.first = cell.querySelector<HTMLImageElement>("img.preview");
    this.firstFrame = cell.querySelector<HTMLCanvasElement>(".first-frame");
    this.canvas = document.createElement("canvas");
    this.canvas.className = "preview-slice";
    this.canvas.hidden = true;
    if (this.first) this.first.after(this.canvas);
    else cell.append(this.canvas);
  }

  /** Whether the server's own first picture is of this very frame's instance. */
  isServers(frame: Frame): boolean {
    return !!this.first && this.first.src.includes(`/instances/${frame.instance.sopInstanceUID}/`);
  }

  /** Whether this very frame is on the screen without loss, drawn before the viewer came. */
  isLossless(frame: Frame): boolean {
    return this.isServers(frame) && !!this.firstFrame?.isConnected && this.firstFrame.dataset["painted"] === "";
  }

  /** The server's picture stays only while it shows what the viewport is about to show. */
  keepOnly(frame: Frame): void {
    if (this.first && !this.isServers(frame)) this.dropFirst();
  }

  /** Draw a picture where the image will be: on given corners, or fitted into the viewport. */
  show(picture: HTMLImageElement, corners: [Point2, Point2, Point2] | undefined): void {
    if (this.first) return;
    const { canvas } = this;
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
    const [origin, right, down] = corners ?? fitted(this.cell, picture);
    const [w, h] = [canvas.width, canvas.height];
    canvas.style.transform = `matrix(${(right[0] - origin[0]) / w},${(right[1] - origin[1]) / w},`
      + `${(down[0] - origin[0]) / h},${(down[1] - origin[1]) / h},${origin[0]},${origin[1]})`;
    canvas.hidden = false;
  }

  hide(): void {
    this.dropFirst();
    this.canvas.hidden = true;
  }

  private dropFirst(): void {
    this.firstFrame?.dispatchEvent(new Event(DROPPED));
    this.first?.remove();
    this.first = null;
  }
}

function fitted(cell: HTMLElement, picture: HTMLImageElement): [Point2, Point2, Point2] {
  const scale = Math.min(cell.clientWidth / picture.naturalWidth, cell.clientHeight / picture.naturalHeight);
  const [w, h] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
  const [x, y] = [(cell.clientWidth - w) / 2, (cell.clientHeight - h) / 2];
  return [[x, y], [x + w, y], [x, y + h]];
}
