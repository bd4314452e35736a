/** The viewports on the screen: layouts, which one is active, what is dropped where. */
import type { RenderingEngine, Types } from "@cornerstonejs/core";
import { usesCPU } from "./cornerstone";
import { cellsOf, columnsOf, rowsOf, type Layout } from "./layouts";
import type { PreviewStack } from "./preview_stack";
import { DRAG_TYPE } from "./series_strip";
import { ReadingViewport, type ViewportListener } from "./viewport";
import { word } from "./words";

export class Grid {
  readonly viewports: ReadingViewport[] = [];
  layout: Layout = "1x1";
  private activeNumber = 0;

  constructor(private readonly root: HTMLElement, private readonly engine: RenderingEngine,
    private readonly previews: PreviewStack, private readonly listener: ViewportListener,
    private readonly changed: () => void, private readonly dropped: (viewport: ReadingViewport, id: string) => void) {
    new ResizeObserver(() => this.resize()).observe(root);
  }

  get active(): ReadingViewport {
    return this.viewports[this.activeNumber]!;
  }

  get visible(): ReadingViewport[] {
    return this.viewports.slice(0, cellsOf(this.layout));
  }

  setLayout(layout: Layout): void {
    this.layout = layout;
    this.root.dataset["layout"] = layout;
    this.root.style.setProperty("--rows", String(rowsOf(layout)));
    this.root.style.setProperty("--columns", String(columnsOf(layout)));
    while (this.viewports.length < cellsOf(layout)) this.addViewport();
    this.viewports.forEach((viewport, number) => { viewport.cell.hidden = number >= cellsOf(layout); });
    if (this.activeNumber >= cellsOf(layout)) this.activeNumber = 0;
    this.activate(this.active, false);
    this.resize();
  }

  activate(viewport: ReadingViewport, takesFocus = true): void {
    this.activeNumber = viewport.number;
    for (const each of this.viewports) each.cell.classList.toggle("is-active", each === viewport);
    if (takesFocus) viewport.cell.focus({ preventScroll: true });
    this.changed();
  }

  activateNext(step: 1 | -1): void {
    const visible = this.visible;
    this.activate(visible[(this.activeNumber + step + visible.length) % visible.length]!);
  }

  /** One viewport over the whole window, and back. */
  toggleFull(): void {
    const isFull = this.root.classList.toggle("is-full");
    document.documentElement.classList.toggle("viewer-is-full", isFull);
    this.resize();
  }

  /** Fit canvases to their cells; an image that filled its cell fills it again, a zoomed one stays as zoomed. */
  private resize(): void {
    const shown = this.visible.filter((viewport) => viewport.hasImage);
    this.fit(shown.map((viewport) => [viewport, viewport.stack.getViewPresentation()]), 5);
  }

  private fit(shown: [ReadingViewport, Types.ViewPresentation][], attempts: number): void {
    this.engine.resize(true, true);
    // Cornerstone skips a resize while a frame is pending and does not come back to it.
    const isDone = shown.every(([{ host }]) => {
      const canvas = host.querySelector("canvas");
      return !canvas || !host.clientWidth || Math.abs(canvas.width - host.clientWidth * devicePixelRatio) < 2;
    });
    if (!isDone && attempts > 0) {
      requestAnimationFrame(() => this.fit(shown, attempts - 1));
      return;
    }
    for (const [viewport, presentation] of shown) {
      if (!viewport.hasImage) continue;
      // The CPU renderer's zoom is in screen pixels and means nothing in another cell.
      if (usesCPU()) viewport.stack.resetCamera();
      else viewport.stack.setViewPresentation(presentation);
    }
    this.engine.render();
  }

  get width(): number {
    return this.root.clientWidth;
  }

  get isFull(): boolean {
    return this.root.classList.contains("is-full");
  }

  private addViewport(): void {
    const number = this.viewports.length;
    const cell = this.cellFor(number);
    const viewport = new ReadingViewport(this.engine, cell, number, this.previews, this.listener);
    this.viewports.push(viewport);
    cell.addEventListener("pointerdown", () => this.activate(viewport));
    cell.addEventListener("focusin", () => { if (this.active !== viewport) this.activate(viewport, false); });
    cell.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes(DRAG_TYPE)) return;
      event.preventDefault();
      cell.classList.add("is-target");
    });
    cell.addEventListener("dragleave", () => cell.classList.remove("is-target"));
    cell.addEventListener("drop", (event) => {
      cell.classList.remove("is-target");
      const id = event.dataTransfer?.getData(DRAG_TYPE);
      if (!id) return;
      event.preventDefault();
      this.dropped(viewport, id);
    });
  }

  /** The cell that the server drew, or a new one. */
  private cellFor(number: number): HTMLElement {
    const drawn = this.root.querySelector<HTMLElement>(`.viewport[data-viewport="${number}"]`);
    if (drawn) return drawn;
    const cell = document.createElement("div");
    cell.className = "viewport is-empty";
    cell.dataset["viewport"] = String(number);
    cell.dataset["empty"] = word("empty_cell");
    this.root.append(cell);
    return cell;
  }
}
