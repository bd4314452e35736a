/** The words in the corners of a viewport: who, what, when, where in the stack, and how it is windowed. */
import { TAG, frameNumbers, number, numbers } from "./attributes";
import type { DisplaySet, Frame } from "./display_sets";
import { ageOf, dateOf, sexOf, sideOf } from "./imaging_words";
import { word } from "./words";

const CORNERS = ["top-left", "top-right", "bottom-left", "bottom-right"] as const;
type Corner = (typeof CORNERS)[number];
const EDGES = ["left", "right", "top", "bottom"] as const;

export interface OverlayState {
  displaySet: DisplaySet;
  frame: Frame;
  index: number;
  window?: { width: number; center: number };
  zoom?: number;
  isInverted?: boolean;
  isMirrored?: boolean;
  isCPU?: boolean;
  isKeyImage?: boolean;
  link?: string;
  readout?: string;
}

export class Overlay {
  private readonly corners = {} as Record<Corner, HTMLElement>;
  private readonly edges = {} as Record<(typeof EDGES)[number], HTMLElement>;
  private readonly bar: HTMLElement;

  constructor(cell: HTMLElement) {
    for (const corner of CORNERS) this.corners[corner] = part(cell, `corner ${corner}`);
    for (const edge of EDGES) this.edges[edge] = part(cell, `edge edge-${edge}`);
    this.bar = part(cell, "scale-bar");
    this.bar.hidden = true;
  }

  write(state: OverlayState): void {
    const { displaySet, frame } = state;
    const attributes = frame.instance.attributes;
    const { patient } = displaySet;
    const window = state.window;
    const thickness = number(attributes, TAG.sliceThickness);
    const position = number(attributes, TAG.sliceLocation)
      ?? frameNumbers(attributes, frame.number, TAG.planePosition, TAG.position)[2];
    const side = sideOf(displaySet.laterality);
    this.fill("top-left", [
      strong(patient.name),
      more([sexOf(patient), ageOf(patient, displaySet.studyDate), patient.patient_id].filter(Boolean).join(" · ")),
      displaySet.standing !== "current" ? tagged(word(displaySet.standing), "prior") : undefined,
    ]);
    this.fill("top-right", [
      line(dateOf(displaySet.studyDate), more(` ${displaySet.modality}`)),
      more(displaySet.description || displaySet.studyDescription),
      side || displaySet.view ? strong([side, displaySet.view].filter(Boolean).join(" ")) : undefined,
    ]);
    this.fill("bottom-left", [
      state.readout,
      // A narrow cell breaks this line between the values, never inside one.
      window ? `W\u00a0${round(window.width)}  L\u00a0${round(window.center)}${state.isInverted ? `  ${word("inverted")}` : ""}` : undefined,
      line(state.zoom ? more(`${word("zoom")} ${state.zoom.toFixed(2)}×`) : undefined,
        [state.isMirrored ? word("mirrored") : "", state.isCPU ? word("cpu") : ""].filter(Boolean).map((said) => `  ${said}`).join("")),
    ]);
    this.fill("bottom-right", [
      state.isKeyImage ? tagged(`★ ${word("key_image")}`, "key") : undefined,
      state.link ? tagged(state.link, "link") : undefined,
      displaySet.frames.length > 1 ? strong(`${state.index + 1} / ${displaySet.frames.length}`) : undefined,
      more([thickness ? `${word("thickness")} ${round(thickness)} mm` : "",
        position !== undefined && numbers(attributes, TAG.rows).length ? `${word("location")} ${position.toFixed(1)}` : ""]
        .filter(Boolean).join("  ")),
    ]);
  }

  letter(edges: Record<(typeof EDGES)[number], string>): void {
    for (const edge of EDGES) this.edges[edge].textContent = edges[edge];
  }

  /** A bar of 1, 2, 5, 10 … mm beside the image; hidden where nobody knows how long a pixel is. */
  scale(pixelsPerMillimetre: number | undefined, height: number): void {
    this.bar.hidden = !pixelsPerMillimetre;
    if (!pixelsPerMillimetre) return;
    const lengths = [1, 2, 5, 10, 20, 50, 100, 200];
    const length = lengths.findLast((candidate) => candidate * pixelsPerMillimetre < height / 3) ?? 1;
    this.bar.style.height = `${length * pixelsPerMillimetre}px`;
    this.bar.dataset["length"] = length >= 10 ? `${length / 10} cm` : `${length} mm`;
  }

  clear(): void {
    for (const element of [...Object.values(this.corners), ...Object.values(this.edges)]) element.replaceChildren();
    this.bar.hidden = true;
  }

  private fill(corner: Corner, lines: (string | Node | undefined)[]): void {
    const nodes = lines.filter((content) => content !== undefined && content !== "").map((content) => {
      const element = document.createElement("div");
      element.append(content as string | Node);
      return element;
    });
    this.corners[corner].replaceChildren(...nodes);
  }
}

function part(cell: HTMLElement, className: string): HTMLElement {
  const element = document.createElement("div");
  element.className = className;
  cell.append(element);
  return element;
}

/** Words that a cell leaves out when it is too small for all of them (viewer.css); nothing for no words. */
function more(content: string): Node | undefined {
  if (!content) return undefined;
  const element = document.createElement("span");
  element.className = "more";
  element.textContent = content;
  return element;
}

function line(...parts: (string | Node | undefined)[]): Node | undefined {
  const present = parts.filter((part) => part !== undefined && part !== "") as (string | Node)[];
  if (!present.length) return undefined;
  const element = document.createElement("span");
  element.append(...present);
  return element;
}

function strong(content: string): Node {
  const element = document.createElement("strong");
  element.textContent = content;
  return element;
}

function tagged(content: string, kind: string): Node {
  const element = document.createElement("span");
  element.className = `tag tag-${kind}`;
  element.textContent = content;
  return element;
}

const round = (value: number): string => String(Number(value.toFixed(Math.abs(value) < 10 ? 2 : 0)));
