/** Calipers on the sheet: a span of time and of voltage, moved by mouse, finger or arrow keys. */
import type { Paper } from "./layouts";
import { rateOf } from "./intervals";
import { svg, type DrawnSheet } from "./sheet";

export interface Span {
  ms: number;
  mv: number;
  bpm: number;
}
interface Point {
  x: number;
  y: number;
}

/** How near (mm) a press must be to take hold of an existing edge. */
const GRIP_MM = 1.6;

/** Time and voltage between two points of the paper. */
export function spanBetween(a: Point, b: Point, paper: Pick<Paper, "speed" | "gain">): Span {
  const ms = (Math.abs(b.x - a.x) / paper.speed) * 1000;
  return { ms, mv: (a.y - b.y) / paper.gain, bpm: ms > 0 ? rateOf(ms) : Infinity };
}

export class Calipers {
  isMarching = false;
  private a: Point | undefined;
  private b: Point | undefined;
  private held: "a" | "b" = "b";
  private readonly layer: SVGElement;

  constructor(private readonly sheet: DrawnSheet, private readonly paper: Paper, private readonly changed: (span: Span | undefined) => void) {
    this.layer = svg("g", { class: "calipers" });
    sheet.element.append(this.layer);
    const paperPoint = (event: PointerEvent): Point => {
      const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(sheet.element.getScreenCTM()!.inverse());
      return { x, y };
    };
    sheet.element.addEventListener("pointerdown", (event) => {
      sheet.element.setPointerCapture(event.pointerId);
      this.take(paperPoint(event));
    });
    sheet.element.addEventListener("pointermove", (event) => { if (event.buttons) this.move(paperPoint(event)); });
  }

  get span(): Span | undefined {
    return this.a && this.b ? spanBetween(this.a, this.b, this.paper) : undefined;
  }

  /** Move the edge that was touched last, by millimetres of paper. */
  nudge(millimetres: number): void {
    const edge = this[this.held];
    if (edge) this.move({ x: edge.x + millimetres, y: edge.y });
  }

  march(): void {
    this.isMarching = !this.isMarching;
    this.draw();
  }

  clear(): void {
    this.a = this.b = undefined;
    this.draw();
  }

  private take(point: Point): void {
    const near = (["a", "b"] as const).find((edge) => this[edge] && Math.abs(this[edge]!.x - point.x) < GRIP_MM);
    if (near) {
      this.held = near;
      return;
    }
    this.a = point;
    this.b = undefined;
    this.held = "b";
  }

  private move(point: Point): void {
    this[this.held] = point;
    this.draw();
  }

  private draw(): void {
    const { a, b } = this;
    if (!a || !b) {
      this.layer.replaceChildren();
      this.changed(undefined);
      return;
    }
    const { width, height } = this.sheet;
    const step = Math.abs(b.x - a.x);
    const lines = [`M${a.x} 0V${height}M${b.x} 0V${height}M${a.x} ${a.y}H${b.x}M${b.x} ${a.y}V${b.y}`];
    if (this.isMarching && step > 2) {
      for (let x = Math.max(a.x, b.x) + step; x < width; x += step) lines.push(`M${x} 0V${height}`);
      for (let x = Math.min(a.x, b.x) - step; x > 0; x -= step) lines.push(`M${x} 0V${height}`);
    }
    this.layer.replaceChildren(
      svg("rect", { class: "span", x: Math.min(a.x, b.x), y: 0, width: step, height }),
      svg("path", { class: "edge", d: lines.join("") }));
    this.changed(this.span);
  }
}
