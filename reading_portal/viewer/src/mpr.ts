/** Three planes through one volume, with a crosshair, and thick slabs of them. */
import { Enums, cache, eventTarget, setVolumesForViewports, utilities, volumeLoader, type RenderingEngine, type Types } from "@cornerstonejs/core";
import { CrosshairsTool, Enums as ToolEnums, PanTool, StackScrollTool, ToolGroupManager, WindowLevelTool, ZoomTool, addTool } from "@cornerstonejs/tools";
import { ENGINE, usesCPU } from "./cornerstone";
import type { DisplaySet } from "./display_sets";
import { valueText } from "./figure_words";
import { cross, type Point3 } from "./geometry";
import { ageOf, dateOf, sexOf } from "./imaging_words";
import { pixelUnit } from "./measurements";
import { registerMetadata } from "./metadata";
import { lettersOf, oppositeOf } from "./orientation";
import { windowOf, type Preset, type Window } from "./presets";
import { isVolume, volumeOf } from "./volumes";
import { word, type WordKey } from "./words";

const { BlendModes, Events, OrientationAxis, ViewportType } = Enums;
const { Primary, Secondary, Auxiliary, Wheel } = ToolEnums.MouseBindings;
const GROUP = "mpr";

const PLANES = [
  { id: "mpr-axial", word: "plane_axial", orientation: OrientationAxis.AXIAL, color: "rgb(255,96,96)" },
  { id: "mpr-sagittal", word: "plane_sagittal", orientation: OrientationAxis.SAGITTAL, color: "rgb(240,220,80)" },
  { id: "mpr-coronal", word: "plane_coronal", orientation: OrientationAxis.CORONAL, color: "rgb(90,210,120)" },
] as const satisfies { id: string; word: WordKey; orientation: string; color: string }[];

export const SLABS = ["none", "average", "mip", "minip"] as const;
export type Slab = (typeof SLABS)[number];
const BLENDS: Record<Slab, Enums.BlendModes> = {
  none: BlendModes.COMPOSITE, average: BlendModes.AVERAGE_INTENSITY_BLEND,
  mip: BlendModes.MAXIMUM_INTENSITY_BLEND, minip: BlendModes.MINIMUM_INTENSITY_BLEND,
};
const THICKNESSES = [3, 5, 10, 20, 40];

export class Mpr {
  private readonly panel: HTMLElement;
  private readonly bar: HTMLElement;
  private readonly cells = new Map<string, Cell>();
  private readonly progress: HTMLElement;
  private volume: Types.IImageVolume | undefined;
  private set: DisplaySet | undefined;
  private cameFrom: HTMLElement | undefined;
  private slab: Slab = "none";
  private thickness = 10;
  private slabBox!: HTMLSelectElement;
  private thicknessBox!: HTMLSelectElement;
  private hasTools = false;
  private active: string = PLANES[0].id;
  private opening: Window | undefined;

  constructor(section: HTMLElement, private readonly engine: RenderingEngine, private readonly closed: () => void) {
    this.panel = section.appendChild(document.createElement("div"));
    this.panel.className = "mpr";
    this.panel.hidden = true;
    this.panel.setAttribute("role", "group");
    this.panel.setAttribute("aria-label", word("action_mpr"));
    this.bar = this.panel.appendChild(document.createElement("header"));
    this.progress = document.createElement("span");
    this.furnish();
    for (const { id, color } of PLANES) {
      const cell = new Cell(this.panel, id, color);
      this.cells.set(id, cell);
      cell.element.addEventListener("focusin", () => { this.active = id; });
      cell.host.addEventListener(Events.CAMERA_MODIFIED, () => this.write(id));
      cell.host.addEventListener(Events.VOI_MODIFIED, () => this.write(id));
      cell.host.addEventListener("mousemove", (event) => this.point(id, event));
      cell.host.addEventListener("mouseleave", () => cell.read(""));
    }
    this.panel.addEventListener("keydown", (event) => this.pressed(event));
    eventTarget.addEventListener(Events.IMAGE_VOLUME_MODIFIED, ((event: CustomEvent) => this.progressed(event)) as EventListener);
  }

  get isOpen(): boolean {
    return !this.panel.hidden;
  }

  /** Show the planes of a stack; answers with a sentence where that would not be true. */
  async open(set: DisplaySet, window: Window | undefined): Promise<string | undefined> {
    if (usesCPU()) return word("volume_no_webgl");
    const volume = volumeOf(set);
    if (!isVolume(volume)) return word(volume.why, ...volume.values);
    if (volume.bytes > cache.getMaxCacheSize() / 2) {
      return word("volume_memory", Math.ceil(volume.bytes / 2 ** 20), Math.floor(cache.getMaxCacheSize() / 2 ** 21));
    }
    this.cameFrom = document.activeElement as HTMLElement;
    [this.set, this.opening] = [set, window];
    this.panel.hidden = false;
    delete this.panel.dataset["complete"];
    this.progress.classList.remove("is-bad");
    this.progress.textContent = word("loading", `0 / ${volume.frames.length}`);
    for (const cell of this.cells.values()) cell.introduce(set);
    for (const plane of PLANES) {
      this.engine.enableElement({ viewportId: plane.id, element: this.cells.get(plane.id)!.host, type: ViewportType.ORTHOGRAPHIC,
        defaultOptions: { orientation: plane.orientation, background: [0, 0, 0] } });
      this.cells.get(plane.id)!.host.removeAttribute("tabindex");
    }
    this.cells.get(PLANES[0].id)!.element.focus({ preventScroll: true });
    await registerMetadata(set);
    const created = await volumeLoader.createAndCacheVolume(`mpr:${set.id}`, { imageIds: volume.frames.map(({ imageId }) => imageId) });
    if (this.set !== set || !this.isOpen) return undefined;
    this.volume = created as Types.IImageVolume;
    await setVolumesForViewports(this.engine, [{ volumeId: created.volumeId }], PLANES.map(({ id }) => id));
    this.equip();
    for (const { id } of PLANES) {
      const viewport = this.viewport(id);
      if (window) viewport.setProperties({ voiRange: utilities.windowLevel.toLowHighRange(window.width, window.center) });
      viewport.render();
      this.write(id);
    }
    this.volume.load((event) => this.complete(set, event as { framesLoaded: number; totalNumFrames: number }));
    return undefined;
  }

  close(): void {
    if (!this.isOpen) return;
    ToolGroupManager.destroyToolGroup(GROUP);
    for (const { id } of PLANES) this.engine.disableElement(id);
    if (this.volume) cache.removeVolumeLoadObject(this.volume.volumeId);
    this.volume = this.set = undefined;
    this.panel.hidden = true;
    this.cameFrom?.focus({ preventScroll: true });
    this.closed();
  }

  window(): Window | undefined {
    const range = this.volume && this.viewport(PLANES[0].id).getProperties()?.voiRange;
    if (!range) return undefined;
    const { windowWidth, windowCenter } = utilities.windowLevel.toWindowLevel(range.lower, range.upper);
    return { width: windowWidth, center: windowCenter };
  }

  setWindow({ width, center }: Window): void {
    for (const { id } of PLANES) {
      this.viewport(id).setProperties({ voiRange: utilities.windowLevel.toLowHighRange(width, center) });
      this.viewport(id).render();
    }
  }

  preset(preset: Preset): void {
    if (this.opening) this.setWindow(windowOf(preset, this.opening));
  }

  setSlab(slab: Slab, thickness = this.thickness): void {
    [this.slab, this.thickness] = [slab, thickness];
    this.slabBox.value = slab;
    this.thicknessBox.value = String(thickness);
    this.thicknessBox.disabled = slab === "none";
    if (!this.volume) return;
    for (const { id } of PLANES) {
      const viewport = this.viewport(id);
      viewport.setBlendMode(BLENDS[slab]);
      if (slab === "none") viewport.resetSlabThickness();
      else viewport.setSlabThickness(thickness / 2); // Cornerstone lays it on both sides of the plane
      viewport.render();
      this.write(id);
    }
  }

  nextSlab(): void {
    this.setSlab(SLABS[(SLABS.indexOf(this.slab) + 1) % SLABS.length]!);
  }

  scroll(delta: number): void {
    if (this.volume) this.viewport(this.active).scroll(delta);
  }

  reset(): void {
    if (!this.volume) return;
    this.setSlab("none");
    for (const { id } of PLANES) this.viewport(id).resetCamera();
    this.crosshairs?.resetCrosshairs();
    if (this.opening) this.setWindow(this.opening);
  }

  /** Where the three planes meet, in mm of the patient. */
  get center(): Point3 | undefined {
    return this.crosshairs?.toolCenter as Point3 | undefined;
  }

  jumpTo(point: Point3): void {
    this.crosshairs?.setToolCenter(point);
  }

  /** The voxel nearest to a point, in modality units; undefined outside, and until its slice is there. */
  valueAt(point: ArrayLike<number>): number | undefined {
    const data = this.volume?.imageData;
    if (!data || !this.volume) return undefined;
    const index = data.worldToIndex([point[0]!, point[1]!, point[2]!] as Point3).map(Math.round) as Point3;
    const [columns, rows, slices] = this.volume.dimensions;
    if (index.some((at, axis) => at < 0 || at >= [columns, rows, slices][axis]!)) return undefined;
    return this.volume.voxelManager?.getAtIJKPoint(index) as number | undefined;
  }

  /** For tests: where a point of the patient is on the page, and what the slabs are. */
  onScreen(plane: number, point: Point3): { x: number; y: number } {
    const { id } = PLANES[plane]!;
    const box = this.cells.get(id)!.host.getBoundingClientRect();
    const [x, y] = this.viewport(id).worldToCanvas(point);
    return { x: box.left + x, y: box.top + y };
  }

  private get crosshairs(): CrosshairsTool | undefined {
    return ToolGroupManager.getToolGroup(GROUP)?.getToolInstance(CrosshairsTool.toolName) as CrosshairsTool | undefined;
  }

  private viewport(id: string): Types.IVolumeViewport {
    return this.engine.getViewport(id) as Types.IVolumeViewport;
  }

  private furnish(): void {
    const title = this.bar.appendChild(document.createElement("strong"));
    title.textContent = word("action_mpr");
    this.slabBox = choice(this.bar, word("slab"), SLABS.map((slab) => [slab, word(`slab_${slab}` as WordKey)]));
    this.thicknessBox = choice(this.bar, word("slab_thickness"), THICKNESSES.map((each) => [String(each), `${each} mm`]));
    this.thicknessBox.value = String(this.thickness);
    this.thicknessBox.disabled = true;
    const changed = (): void => this.setSlab(this.slabBox.value as Slab, Number(this.thicknessBox.value));
    this.slabBox.addEventListener("change", changed);
    this.thicknessBox.addEventListener("change", changed);
    this.bar.append(this.progress);
    this.progress.className = "mpr-progress";
    this.progress.setAttribute("role", "status");
    const close = this.bar.appendChild(document.createElement("button"));
    close.type = "button";
    close.textContent = `${word("mpr_close")} (Esc)`;
    close.addEventListener("click", () => this.close());
  }

  private equip(): void {
    if (!this.hasTools) {
      addTool(CrosshairsTool);
      this.hasTools = true;
    }
    const group = ToolGroupManager.createToolGroup(GROUP);
    if (!group) return;
    for (const { id } of PLANES) group.addViewport(id, ENGINE);
    const colors = Object.fromEntries(PLANES.map(({ id, color }) => [id, color]));
    group.addTool(CrosshairsTool.toolName, {
      getReferenceLineColor: (id: string) => colors[id] ?? "white",
      getReferenceLineControllable: () => true, getReferenceLineDraggableRotatable: () => true,
      getReferenceLineSlabThicknessControlsOn: () => false,
    });
    const bind = (tool: { toolName: string }, mouseButton: number, more: object = {}): void => {
      group.addTool(tool.toolName);
      group.setToolActive(tool.toolName, { bindings: [{ mouseButton, ...more }] });
    };
    bind(WindowLevelTool, Primary, { modifierKey: ToolEnums.KeyboardBindings.Shift });
    bind(ZoomTool, Secondary);
    bind(PanTool, Auxiliary);
    bind(StackScrollTool, Wheel);
    group.setToolActive(CrosshairsTool.toolName, { bindings: [{ mouseButton: Primary }] });
  }

  private point(id: string, event: MouseEvent): void {
    const cell = this.cells.get(id)!;
    if (!this.volume || !this.set) return;
    const box = cell.host.getBoundingClientRect();
    const value = this.valueAt(this.viewport(id).canvasToWorld([event.clientX - box.left, event.clientY - box.top]));
    // A slab shows what no single voxel is.
    const isOne = this.slab === "none" && value !== undefined;
    cell.read(isOne ? valueText(value, pixelUnit(this.set.frames[0]!.instance.attributes)) : "");
  }

  private write(id: string): void {
    if (!this.volume) return;
    const { viewUp, viewPlaneNormal } = this.viewport(id).getCamera();
    if (!viewUp || !viewPlaneNormal) return;
    const plane = PLANES.find((each) => each.id === id)!;
    const window = this.window();
    this.cells.get(id)!.write({
      name: word(plane.word), up: lettersOf(viewUp), right: lettersOf(cross(viewUp, viewPlaneNormal)),
      slab: this.slab === "none" ? "" : `${word(`slab_${this.slab}` as WordKey)} ${this.thickness} mm`,
      window: window ? `W ${Math.round(window.width)}  L ${Math.round(window.center)}` : "",
    });
  }

  private progressed(event: CustomEvent): void {
    const { volumeId, framesProcessed } = event.detail as { volumeId?: string; framesProcessed?: number };
    if (!this.volume || volumeId !== this.volume.volumeId || this.panel.dataset["complete"]) return;
    this.progress.textContent = word("loading", `${framesProcessed} / ${this.set?.frames.length}`);
  }

  /** Every slice is here, or will not come: a missing one is black in the planes, and black looks like air. */
  private complete(set: DisplaySet, { framesLoaded, totalNumFrames }: { framesLoaded: number; totalNumFrames: number }): void {
    if (this.set !== set || !this.volume) return;
    const missing = totalNumFrames - framesLoaded;
    this.panel.dataset["complete"] = String(!missing);
    this.progress.textContent = missing ? word("volume_incomplete", missing) : "";
    this.progress.classList.toggle("is-bad", missing > 0);
    for (const { id } of PLANES) this.viewport(id).render();
  }

  /** A chosen slab gives the keys back to the pictures. */
  private pressed(event: KeyboardEvent): void {
    if (!(event.target instanceof HTMLSelectElement) || event.key !== "Escape") return;
    this.cells.get(this.active)!.element.focus({ preventScroll: true });
    event.stopPropagation();
  }
}

interface Words {
  name: string;
  up: string;
  right: string;
  slab: string;
  window: string;
}

/** One plane: the picture, whose it is, and which way it looks. */
class Cell {
  readonly element: HTMLElement;
  readonly host: HTMLDivElement;
  private readonly parts: Record<string, HTMLElement> = {};

  constructor(panel: HTMLElement, id: string, color: string) {
    this.element = panel.appendChild(document.createElement("div"));
    this.element.className = "viewport";
    this.element.tabIndex = 0;
    this.element.dataset["plane"] = id;
    this.element.style.setProperty("--plane", color);
    this.host = this.element.appendChild(document.createElement("div"));
    this.host.className = "host";
    this.host.addEventListener("contextmenu", (event) => event.preventDefault());
    for (const name of ["corner top-left", "corner top-right", "corner bottom-left", "corner bottom-right",
      "edge edge-left", "edge edge-right", "edge edge-top", "edge edge-bottom"]) {
      const part = this.element.appendChild(document.createElement("div"));
      part.className = name;
      this.parts[name.split(" ")[1]!] = part;
    }
  }

  introduce(set: DisplaySet): void {
    const { patient } = set;
    this.fill("top-left", patient.name, [sexOf(patient), ageOf(patient, set.studyDate), patient.patient_id].filter(Boolean).join(" · "));
    this.fill("top-right", `${dateOf(set.studyDate)} ${set.modality}`, set.description);
    this.fill("bottom-right", word("reformatted"));
  }

  write({ name, up, right, slab, window }: Words): void {
    this.fill("bottom-left", [name, slab].filter(Boolean).join(" · "), window, this.parts["bottom-left"]!.dataset["value"] ?? "");
    const letters = { "edge-top": up, "edge-bottom": oppositeOf(up), "edge-right": right, "edge-left": oppositeOf(right) };
    for (const [edge, letter] of Object.entries(letters)) this.parts[edge]!.textContent = letter;
  }

  read(value: string): void {
    const corner = this.parts["bottom-left"]!;
    corner.dataset["value"] = value;
    const last = corner.lastElementChild;
    if (last?.classList.contains("value")) last.textContent = value;
    else if (value) {
      const line = corner.appendChild(document.createElement("div"));
      line.className = "value";
      line.textContent = value;
    }
  }

  private fill(part: string, ...lines: string[]): void {
    this.parts[part]!.replaceChildren(...lines.filter(Boolean).map((content, index) => {
      const element = document.createElement(index ? "div" : "strong");
      element.textContent = content;
      return element;
    }));
  }
}

function choice(bar: HTMLElement, label: string, options: [string, string][]): HTMLSelectElement {
  const box = bar.appendChild(document.createElement("label"));
  box.append(`${label} `);
  const select = box.appendChild(document.createElement("select"));
  for (const [value, said] of options) select.append(new Option(said, value));
  return select;
}
