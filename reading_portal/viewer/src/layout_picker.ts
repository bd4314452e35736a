/** A small chart of the sixteen layouts: point at the far corner, or walk there by arrow keys. */
import { columnsOf, isLayout, LAYOUTS, rowsOf, type Layout } from "./layouts";
import { word } from "./words";

const STEPS: Record<string, [rows: number, columns: number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export class LayoutPicker {
  private readonly panel: HTMLElement;
  private readonly name: HTMLElement;
  private readonly cells = new Map<Layout, HTMLButtonElement>();
  private cameFrom: HTMLElement | undefined;

  constructor(section: HTMLElement, private readonly current: () => Layout, private readonly picked: (layout: Layout) => void) {
    this.panel = section.appendChild(document.createElement("div"));
    this.panel.className = "layout-picker";
    this.panel.hidden = true;
    this.panel.setAttribute("role", "dialog");
    this.panel.setAttribute("aria-label", word("action_layout"));
    for (const layout of LAYOUTS) {
      const cell = this.panel.appendChild(document.createElement("button"));
      cell.type = "button";
      cell.dataset["layout"] = layout;
      cell.setAttribute("aria-label", word("action_layout_n", layout.replace("x", " × ")));
      cell.addEventListener("pointerenter", () => this.mark(layout));
      cell.addEventListener("focus", () => this.mark(layout));
      cell.addEventListener("click", () => { this.close(); this.picked(layout); });
      this.cells.set(layout, cell);
    }
    this.name = this.panel.appendChild(document.createElement("p"));
    this.panel.addEventListener("keydown", (event) => this.pressed(event));
    this.panel.addEventListener("focusout", (event) => { if (!this.panel.contains(event.relatedTarget as Node)) this.panel.hidden = true; });
  }

  toggle(): void {
    if (!this.panel.hidden) return this.close();
    this.cameFrom = document.activeElement as HTMLElement;
    this.panel.hidden = false;
    this.cells.get(this.current())?.focus();
  }

  private close(): void {
    this.panel.hidden = true;
    this.cameFrom?.focus({ preventScroll: true });
  }

  private mark(layout: Layout): void {
    for (const [other, cell] of this.cells) {
      cell.classList.toggle("is-in", rowsOf(other) <= rowsOf(layout) && columnsOf(other) <= columnsOf(layout));
    }
    this.name.textContent = layout.replace("x", " × ");
  }

  private pressed(event: KeyboardEvent): void {
    const at = (document.activeElement as HTMLElement).dataset["layout"] as Layout | undefined;
    const step = STEPS[event.key];
    if (event.key === "Escape") this.close();
    else if (at && step) {
      const next = `${rowsOf(at) + step[0]}x${columnsOf(at) + step[1]}`;
      if (isLayout(next)) this.cells.get(next)?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
