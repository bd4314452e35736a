/** The image viewer: what the reader can do, and in which order pixels are brought. */
import { Enums, eventTarget, type RenderingEngine } from "@cornerstonejs/core";
import { TAG, text } from "./attributes";
import { Cine } from "./cine";
import type { DisplaySet, Frame } from "./display_sets";
import { displaySetsOf } from "./display_sets";
import { Grid } from "./grid";
import { hangingFor } from "./hanging";
import { dateOf } from "./imaging_words";
import { KeptMeasurements } from "./kept_measurements";
import { cellsOf, nextLayout, type Layout } from "./layouts";
import { matchingSlice, offsetBetween, type Stack } from "./linking";
import type { Mpr } from "./mpr";
import { fetchManifest, mostComparable, type Manifest, type Prior } from "./manifest";
import type { Page } from "./page";
import { Prefetch } from "./prefetch";
import { presetsFor } from "./presets";
import { PreviewStack } from "./preview_stack";
import { announceQuality } from "./quality";
import { drawReferenceLine } from "./reference_lines";
import { SeriesStrip } from "./series_strip";
import type { ReadingViewport, ViewportListener } from "./viewport";
import { word } from "./words";

export interface Marks {
  [name: string]: number;
}

export class Viewer implements ViewportListener {
  readonly marks: Marks = {};
  readonly grid: Grid;
  readonly cine = new Cine();
  readonly measurements: KeptMeasurements;
  readonly displaySets = new Map<string, DisplaySet>();
  private readonly previews = new PreviewStack();
  private readonly prefetch: Prefetch;
  private readonly strip: SeriesStrip;
  private readonly keyImages = new Set<string>();
  private readonly links = new Map<string, number>();
  private readonly waitingFor = new Set<ReadingViewport>();
  private readonly lastIndex = new Map<string, number>();
  private readonly openPriors = new Map<string, DisplaySet[]>();
  private manifest: Manifest | undefined;
  private isFollowing = false;
  private hasReferenceLines = true;
  /** Planes cut from the active stack; their code comes when they are first asked for. */
  planes: Mpr | undefined;

  constructor(private readonly page: Page, private readonly engine: RenderingEngine, gridRoot: HTMLElement, stripRoot: HTMLElement,
    private readonly changed: () => void, readonly say: (sentence: string) => void,
    waiting: (sentence: string) => void) {
    this.strip = new SeriesStrip(stripRoot, {
      chosen: (displaySet) => void this.open(displaySet),
      priorWanted: (prior) => void this.openPrior(prior),
    });
    this.prefetch = new Prefetch((displaySet, loaded) => this.progressed(displaySet, loaded));
    this.grid = new Grid(gridRoot, engine, this.previews, this, () => this.refresh(),
      (viewport, id) => { const set = this.displaySets.get(id); if (set) void this.open(set, viewport); });
    this.measurements = new KeptMeasurements(page.csrf, () => this.grid.visible, waiting, say);
    eventTarget.addEventListener(Enums.Events.IMAGE_LOAD_ERROR, ((event: CustomEvent) => {
      for (const viewport of this.grid.viewports) viewport.failed(String(event.detail.imageId ?? ""), event.detail);
    }) as EventListener);
  }

  mark(name: string): void {
    this.marks[name] ??= Math.round(performance.now());
  }

  /** Hang the study: what the server has drawn already stays until its own slice is there. */
  async start(manifest: Manifest): Promise<void> {
    this.manifest = manifest;
    const sets = displaySetsOf(manifest, this.page.dicomweb);
    for (const set of sets) this.displaySets.set(set.id, set);
    const hanging = hangingFor(sets);
    this.grid.setLayout(hanging.layout);
    // The slice that the server's first picture shows is the slice to open.
    const drawn = this.page.section.querySelector<HTMLImageElement>("img.preview")?.src ?? "";
    const shows = (set: DisplaySet): number =>
      set.frames.findIndex(({ instance }) => drawn.includes(`/instances/${instance.sopInstanceUID}/`));
    const first = hanging.layout === "1x1" ? sets.find((set) => shows(set) >= 0) ?? hanging.displaySets[0] : hanging.displaySets[0];
    const inOrder = [first, ...hanging.displaySets.slice(1)];
    const opened = this.grid.visible.map((viewport, number) => {
      const set = inOrder[number];
      if (!set) return Promise.resolve(viewport.clear());
      const at = shows(set);
      return viewport.open(set, at >= 0 ? at : set.isMultiFrame ? 0 : set.frames.length >> 1);
    });
    this.strip.fill(sets, manifest.priors ?? []);
    this.grid.activate(this.grid.viewports[0]!, false);
    if (!sets.length) this.say(word("no_images"));
    await Promise.all(opened);
    this.mark("firstOpened");
    await this.followReader();
  }

  async open(displaySet: DisplaySet, viewport = this.grid.active, index?: number): Promise<void> {
    this.cine.stop(viewport);
    this.remember(viewport);
    const start = index ?? this.lastIndex.get(displaySet.id) ?? (displaySet.isMultiFrame ? 0 : displaySet.frames.length >> 1);
    this.grid.activate(viewport);
    await viewport.open(displaySet, start);
    this.linkAll();
    this.refresh();
    void this.followReader();
  }

  /** Fetch another study's headers; show its most similar series beside the current one. */
  async openPrior(prior: Prior): Promise<void> {
    const standing = prior.is_later ? "later" : "prior";
    let sets = this.openPriors.get(prior.study_instance_uid);
    if (!sets) {
      try {
        sets = displaySetsOf(await fetchManifest(prior.manifest), this.page.dicomweb, standing);
      } catch (error) {
        this.say(word("fail_manifest", /^HTTP (\d+)/.exec(String((error as Error).message))?.[1] ?? "–"));
        return;
      }
      for (const set of sets) this.displaySets.set(set.id, set);
      this.openPriors.set(prior.study_instance_uid, sets);
      this.strip.openPrior(prior, sets);
    }
    const current = this.grid.viewports[0]!.displaySet;
    const best = mostSimilar(sets, current);
    if (!best) return;
    if (cellsOf(this.grid.layout) < 2) this.grid.setLayout("1x2");
    await this.open(best, this.grid.viewports[1]!);
    this.say(`${word(standing)} ${dateOf(prior.study_date)}`);
  }

  async toggleNearestPrior(): Promise<void> {
    const prior = this.manifest && mostComparable(this.manifest);
    const isBeside = this.grid.visible.some((viewport) => isOther(viewport.displaySet));
    if (isBeside) this.grid.setLayout("1x1");
    else if (prior) await this.openPrior(prior);
  }

  stepSeries(step: 1 | -1): void {
    const current = this.grid.active.displaySet;
    const sets = [...this.displaySets.values()].filter((set) => set.studyInstanceUID === current?.studyInstanceUID);
    const next = sets[(sets.findIndex((set) => set.id === current?.id) + step + sets.length) % sets.length];
    if (next && next !== current) void this.open(next);
  }

  async togglePlanes(): Promise<void> {
    if (this.planes?.isOpen) return this.planes.close();
    const { displaySet } = this.grid.active;
    if (!displaySet) return;
    if (!this.planes) {
      const { Mpr } = await import("./mpr");
      this.planes ??= new Mpr(this.page.section, this.engine, () => this.changed());
    }
    const refusal = await this.planes.open(displaySet, this.grid.active.window());
    if (refusal) this.say(refusal);
    this.changed();
  }

  toggleReferenceLines(): void {
    this.hasReferenceLines = !this.hasReferenceLines;
    this.drawn(this.grid.active);
    this.say(word(this.hasReferenceLines ? "reference_lines_on" : "reference_lines_off"));
  }

  nextLayout(): void {
    this.setLayout(nextLayout(this.grid.layout));
  }

  setLayout(layout: Layout): void {
    this.grid.setLayout(layout);
    this.say(layout.replace("x", " × "));
    // Fill new cells with what is not on the screen yet.
    const shown = new Set(this.grid.visible.map((viewport) => viewport.displaySet?.id));
    const waiting = [...this.displaySets.values()].filter((set) => !shown.has(set.id) && set.frames.length && !isOther(set));
    for (const viewport of this.grid.visible) {
      if (viewport.displaySet) continue;
      const next = waiting.shift();
      if (!next) break;
      void viewport.open(next, next.isMultiFrame ? 0 : next.frames.length >> 1).then(() => { this.linkAll(); void this.followReader(); });
    }
    this.refresh();
  }

  changeCineSpeed(factor: number): void {
    const { active } = this.grid;
    const rate = this.cine.changeSpeed(active, factor);
    if (rate) this.say(word("cine_speed", Number(rate.toFixed(1))));
  }

  /** Take the slices on the screen as the same anatomy, from now on. */
  linkHere(): void {
    const { active } = this.grid;
    const others = this.grid.visible.filter((viewport) => viewport !== active && viewport.displaySet);
    const offsets = others.map((other) => this.link(active, other, true));
    const found = offsets.find((offset) => offset !== undefined);
    this.say(found === undefined ? word("cannot_link") : word("linked", found.toFixed(1)));
  }

  markKeyImage(): void {
    const { frame, displaySet } = this.grid.active;
    if (!frame || !displaySet) return;
    this.keyImages.add(frame.imageId);
    this.grid.active.write();
    this.say(word("key_image_marked"));
    document.dispatchEvent(new CustomEvent("viewer:key-image",
      { detail: { sop_instance_uid: frame.instance.sopInstanceUID, frame: frame.number } }));
  }

  preset(number: number): void {
    const { active } = this.grid;
    const preset = presetsFor(active.displaySet?.modality ?? "", active.displaySet?.bodyPart)[number - 1];
    if (!preset) return;
    if (this.planes?.isOpen && !preset.isRelative) this.planes.setWindow(preset);
    else active.preset(preset);
    this.say(word(preset.name));
  }

  // -- what viewports tell ---------------------------------------------------------------------------------------

  shown(viewport: ReadingViewport): void {
    this.mark("firstImage");
    this.measurements.shown(viewport);
    if (viewport === this.grid.active) this.moved(viewport);
  }

  /** The reader has moved in one viewport: linked ones follow, unless she is moving them through us. */
  moved(viewport: ReadingViewport): void {
    if (this.isFollowing || viewport !== this.grid.active) return;
    this.isFollowing = true;
    try {
      for (const other of this.grid.visible) {
        const offset = this.links.get(linkKey(viewport, other));
        const [a, b] = [stackOf(viewport), stackOf(other)];
        if (other === viewport || offset === undefined || !a || !b) continue;
        const slice = matchingSlice(a, viewport.index, b, offset);
        if (slice >= 0 && slice !== other.index) other.scrollTo(slice);
      }
    } finally {
      this.isFollowing = false;
    }
  }

  /** Where the active slice lies in the others, within one frame of reference. */
  drawn(viewport: ReadingViewport): void {
    const { active } = this.grid;
    const source = this.hasReferenceLines ? active : undefined;
    for (const target of viewport === active ? this.grid.visible : [viewport]) drawReferenceLine(target, source);
  }

  /** A comparison is only fair under one window: current and prior of one modality share it. */
  windowChanged(viewport: ReadingViewport): void {
    const window = viewport.window();
    if (this.isFollowing || !window || viewport !== this.grid.active) return;
    this.isFollowing = true;
    for (const other of this.grid.visible) {
      const isComparison = isOther(other.displaySet) !== isOther(viewport.displaySet)
        && other.displaySet?.modality === viewport.displaySet?.modality && viewport.displaySet?.modality === "CT";
      if (other !== viewport && other.hasImage && isComparison) other.setWindow(window);
    }
    this.isFollowing = false;
  }

  waiting(viewport: ReadingViewport, isWaiting: boolean): void {
    if (isWaiting) this.waitingFor.add(viewport);
    else this.waitingFor.delete(viewport);
    this.prefetch.pause(this.waitingFor.size > 0);
  }

  qualityChanged(): void {
    announceQuality(this.grid.visible.map((viewport) => ({
      viewport: viewport.number,
      quality: viewport.quality,
      study_instance_uid: viewport.displaySet?.studyInstanceUID,
      sop_instance_uid: viewport.frame?.instance.sopInstanceUID,
      frame: viewport.frame?.number,
    })));
  }

  isKeyImage(frame: Frame): boolean {
    return this.keyImages.has(frame.imageId);
  }

  // -- bringing pixels -------------------------------------------------------------------------------------------

  /** Visible slices are under way already; now the preview stacks of what is shown, then lossless outward. */
  private async followReader(): Promise<void> {
    const shown = this.grid.visible.filter((viewport) => viewport.displaySet?.frames.length);
    await Promise.all(shown.map((viewport) => this.previews.loadAll(viewport.displaySet!, viewport.index)));
    this.mark("previews");
    const visible = this.grid.visible.filter((viewport) => viewport.displaySet?.frames.length)
      .sort((a) => (a === this.grid.active ? -1 : 1));
    const rest = [...this.displaySets.values()].filter((set) => !isOther(set) && set.frames.length
      && !visible.some((viewport) => viewport.displaySet === set));
    this.prefetch.follow([
      ...visible.map((viewport) => ({ displaySet: viewport.displaySet!, index: () => viewport.index })),
      ...rest.map((displaySet) => ({ displaySet, index: () => displaySet.frames.length >> 1 })),
    ]);
  }

  private progressed(displaySet: DisplaySet, loaded: number): void {
    this.strip.progress(displaySet, loaded);
    if (loaded === displaySet.frames.length && displaySet === this.grid.viewports[0]?.displaySet) this.mark("allImages");
  }

  private remember(viewport: ReadingViewport): void {
    if (viewport.displaySet) this.lastIndex.set(viewport.displaySet.id, viewport.index);
  }

  private linkAll(): void {
    this.links.clear();
    for (const a of this.grid.visible) for (const b of this.grid.visible) if (a.number < b.number) this.link(a, b, false);
  }

  private link(a: ReadingViewport, b: ReadingViewport, byHand: boolean): number | undefined {
    const [from, to] = [stackOf(a), stackOf(b)];
    // Two studies share a frame of reference never in truth; the reader's word counts more than the UID.
    const offset = from && to ? offsetBetween(byHand ? { ...from, frameOfReference: "" } : from, a.index, to, b.index) : undefined;
    const back = from && to ? offsetBetween(byHand ? { ...to, frameOfReference: "" } : to, b.index, from, a.index) : undefined;
    if (offset === undefined || back === undefined) return undefined;
    this.links.set(linkKey(a, b), offset);
    this.links.set(linkKey(b, a), back);
    return offset;
  }

  private refresh(): void {
    const shown = new Map<string, number[]>();
    for (const viewport of this.grid.visible) {
      const id = viewport.displaySet?.id;
      if (id) shown.set(id, [...(shown.get(id) ?? []), viewport.number]);
    }
    this.strip.mark(shown, this.grid.active?.displaySet?.id);
    if (this.grid.active) this.drawn(this.grid.active);
    this.qualityChanged();
    this.changed();
  }
}

const isOther = (set: DisplaySet | undefined): boolean => !!set && set.standing !== "current";
const linkKey = (a: ReadingViewport, b: ReadingViewport): string => `${a.number}>${b.number}`;

function stackOf(viewport: ReadingViewport): Stack | undefined {
  const positions = viewport.positions();
  const attributes = viewport.displaySet?.frames[0]?.instance.attributes;
  return positions && attributes ? { ...positions, frameOfReference: text(attributes, TAG.frameOfReference) } : undefined;
}

/** Same modality, then same view and side, then nearest in number of slices. */
function mostSimilar(sets: DisplaySet[], current: DisplaySet | undefined): DisplaySet | undefined {
  const score = (set: DisplaySet): number => (set.frames.length ? 1 : -100)
    + (set.modality === current?.modality ? 8 : 0) + (set.view === current?.view ? 2 : 0)
    + (set.laterality === current?.laterality ? 2 : 0) + (set.description === current?.description ? 2 : 0)
    - Math.abs(Math.log((set.frames.length || 1) / (current?.frames.length || 1)));
  return [...sets].sort((a, b) => score(b) - score(a))[0];
}
