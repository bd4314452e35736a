/** The image viewer: what the reader can do, and in which order pixels are brought. */
import { Enums, eventTarget, type RenderingEngine } from "@cornerstonejs/core";
import { Cine } from "./cine";
import type { DisplaySet, Frame } from "./display_sets";
import { displaySetsOf } from "./display_sets";
import { Grid } from "./grid";
import { arrange, besidePrior, cellOf, chosenFor, factsOf, hangingFor, priorToShow, wantsPrior, type Cell, type Facts, type Hanging, type Placed,
  type SavedHanging } from "./hanging";
import { dateOf } from "./imaging_words";
import { KeptMeasurements } from "./kept_measurements";
import { layoutFor, nextLayout, type Layout } from "./layouts";
import { Links } from "./links";
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
  readonly links: Links;
  private saved: SavedHanging[] = [];
  private readonly waitingFor = new Set<ReadingViewport>();
  private readonly lastIndex = new Map<string, number>();
  private readonly openPriors = new Map<string, DisplaySet[]>();
  private manifest: Manifest | undefined;
  private hasReferenceLines = true;
  /** Planes cut from the active stack; their code comes when they are first asked for. */
  planes: Mpr | undefined;
  private sharesWindow = true;
  private isUneven = false;

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
    this.links = new Links(this.grid);
    eventTarget.addEventListener(Enums.Events.IMAGE_LOAD_ERROR, ((event: CustomEvent) => {
      for (const viewport of this.grid.viewports) viewport.failed(String(event.detail.imageId ?? ""), event.detail);
    }) as EventListener);
  }

  mark(name: string): void {
    this.marks[name] ??= Math.round(performance.now());
  }

  /** Hang the study, as it was saved for such studies: what the server has drawn stays until its own slice is there. */
  async start(manifest: Manifest, saved: SavedHanging[]): Promise<void> {
    this.manifest = manifest;
    this.saved = saved;
    const sets = displaySetsOf(manifest, this.page.dicomweb);
    for (const set of sets) this.displaySets.set(set.id, set);
    this.strip.fill(sets, manifest.priors ?? []);
    const [hanging, prior] = this.opening(sets);
    // The slice that the server's first picture shows is the slice to open.
    const drawn = this.page.section.querySelector<HTMLImageElement>("img.preview")?.src ?? "";
    for (const set of sets) {
      const shows = set.frames.findIndex(({ instance }) => drawn.includes(`/instances/${instance.sopInstanceUID}/`));
      if (shows < 0) continue;
      this.lastIndex.set(set.id, shows);
      const isAsSaved = chosenFor(saved, factsOf(sets)) !== undefined;
      if (hanging.layout === "1x1" && !isAsSaved) hanging.cells = [{ displaySet: set, window: 0 }];
    }
    const opened = this.hang(hanging);
    if (prior) void this.setsOf(prior);
    this.grid.activate(this.grid.viewports[0]!, false);
    if (!sets.length) this.say(word("no_images"));
    await opened;
    this.mark("firstOpened");
    if (prior) await this.showPrior(prior);
    this.mark("hung");
    await this.followReader();
  }

  /** As start, for a study that is open already: what was moved about goes back to its place. */
  async hangAgain(saved?: SavedHanging): Promise<void> {
    const [hanging, prior] = this.opening(this.currentSets, saved);
    await this.hang(hanging);
    if (prior) await this.showPrior(prior, saved);
    void this.followReader();
  }

  /** The study's own pictures first; and the earlier study that is to come beside them by itself, if there is one. */
  private opening(sets: DisplaySet[], asked?: SavedHanging): [Hanging, Prior | undefined] {
    const facts = factsOf(sets);
    const saved = asked ?? chosenFor(this.saved, facts);
    const prior = this.manifest && priorToShow(this.manifest, facts);
    if (saved) return [arrange(saved, sets, []), wantsPrior(saved) ? prior : undefined];
    const hanging = hangingFor(sets);
    // Four pictures and four more take a wide screen; a telephone shows one study.
    const room = this.grid.width;
    const isWideEnough = room >= (hanging.layout === "2x2" ? 1400 : 640);
    return [hanging, isWideEnough ? prior : undefined];
  }

  /** Bring this on the screen; what stands in its place already stays as it is. */
  private async hang({ layout, cells }: Hanging): Promise<void> {
    for (const viewport of this.grid.visible) this.remember(viewport);
    this.grid.setLayout(layout);
    await Promise.all(this.grid.visible.map((viewport, number) => this.place(viewport, cells[number])));
    this.isUneven = true;
    this.evenScales();
    this.refresh();
  }

  /** Breasts are compared with each other, and a study with an earlier one, at the same size: that of the largest. */
  private evenScales(): void {
    const shown = this.grid.visible.filter((viewport) => viewport.hasImage);
    const mammograms = shown.filter(({ displaySet }) => displaySet?.modality === "MG");
    const isPair = shown.length === 2 && isOther(shown[0]!.displaySet) !== isOther(shown[1]!.displaySet);
    const alike = mammograms.length > 1 ? mammograms : isPair ? shown : [];
    const scales = alike.map((viewport) => viewport.pixelsPerMillimetre());
    if (scales.some((scale) => !scale)) return;
    this.isUneven = false;
    const scale = Math.min(...scales as number[]);
    for (const viewport of alike) viewport.showAtScale(scale);
  }

  private async place(viewport: ReadingViewport, placed: Placed | undefined): Promise<void> {
    if (!placed) return viewport.clear();
    const { displaySet, window } = placed;
    this.cine.stop(viewport);
    if (viewport.displaySet?.id !== displaySet.id) await viewport.open(displaySet, this.startOf(displaySet));
    const preset = window ? presetsFor(displaySet.modality, displaySet.bodyPart)[window - 1] : undefined;
    if (preset) this.quietly(() => viewport.preset(preset));
  }

  /** Where to open: where she left it; a study to compare with, where the other one stands; else in the middle. */
  private startOf(displaySet: DisplaySet): number {
    const { active } = this.grid;
    const beside = isOther(displaySet) && active && !isOther(active.displaySet) ? this.links.sliceFor(active, displaySet) : undefined;
    return beside ?? this.lastIndex.get(displaySet.id) ?? (displaySet.isMultiFrame ? 0 : displaySet.frames.length >> 1);
  }

  async open(displaySet: DisplaySet, viewport = this.grid.active, index?: number): Promise<void> {
    this.cine.stop(viewport);
    this.remember(viewport);
    const start = index ?? this.startOf(displaySet);
    this.grid.activate(viewport);
    await viewport.open(displaySet, start);
    this.refresh();
    void this.followReader();
  }

  /** Fetch another study's headers; show its most similar series beside the current ones. */
  async openPrior(prior: Prior): Promise<void> {
    if (await this.showPrior(prior)) this.say(`${word(prior.is_later ? "later" : "prior")} ${dateOf(prior.study_date)}`);
    void this.followReader();
  }

  /** Answers whether anything of it stands beside the current study now. */
  private async showPrior(prior: Prior, asked?: SavedHanging): Promise<boolean> {
    const sets = await this.setsOf(prior);
    if (!sets) return false;
    const current = this.currentSets;
    const saved = asked ?? chosenFor(this.saved, factsOf(current));
    const hanging = saved && wantsPrior(saved) ? arrange(saved, current, sets) : besidePrior(this.currentOnScreen(), sets);
    if (!hanging) {
      this.say(word("nothing_to_compare", dateOf(prior.study_date)));
      return false;
    }
    await this.hang(hanging);
    for (const viewport of this.grid.visible) if (isOther(viewport.displaySet)) this.shareWindow(viewport);
    return true;
  }

  private async setsOf(other: Prior): Promise<DisplaySet[] | undefined> {
    const known = this.openPriors.get(other.study_instance_uid);
    if (known) return known;
    try {
      const sets = displaySetsOf(await fetchManifest(other.manifest), this.page.dicomweb, other.is_later ? "later" : "prior");
      for (const set of sets) this.displaySets.set(set.id, set);
      this.openPriors.set(other.study_instance_uid, sets);
      this.strip.openPrior(other, sets);
      return sets;
    } catch (error) {
      this.say(word("fail_manifest", /^HTTP (\d+)/.exec(String((error as Error).message))?.[1] ?? "–"));
      return undefined;
    }
  }

  /** What of the study that is read stands on the screen: one, two or four pictures beside which others find room. */
  private currentOnScreen(): Hanging {
    const shown = this.grid.visible.map((viewport) => viewport.displaySet);
    const cells = shown.map((displaySet) => displaySet && !isOther(displaySet) ? { displaySet, window: 0 } : undefined);
    if (!shown.some(isOther) && ["1x1", "1x2", "2x2"].includes(this.grid.layout)) return { layout: this.grid.layout, cells };
    const own = cells.filter((cell) => cell !== undefined).slice(0, 4);
    return own.length ? { layout: layoutFor(own.length), cells: own } : hangingFor(this.currentSets);
  }

  async toggleNearestPrior(): Promise<void> {
    const prior = this.manifest && mostComparable(this.manifest);
    const isBeside = this.grid.visible.some((viewport) => isOther(viewport.displaySet));
    if (isBeside) await this.hang(this.currentOnScreen());
    else if (prior) await this.openPrior(prior);
    void this.followReader();
  }

  /** What is on the screen, as something that can be found in other studies; and by what it would be chosen. */
  arrangement(): { layout: Layout; cells: (Cell | null)[]; facts: Facts } {
    const sources: string[] = [];
    const cells = this.grid.visible.map(({ displaySet }, number) => {
      if (!displaySet) return null;
      if (!sources.includes(displaySet.id)) sources.push(displaySet.id);
      const presets = presetsFor(displaySet.modality, displaySet.bodyPart);
      return cellOf(displaySet, sources.indexOf(displaySet.id), this.grid.viewports[number]!.presetShown(presets));
    });
    return { layout: this.grid.layout, cells, facts: factsOf(this.currentSets) };
  }

  useSaved(saved: SavedHanging[]): void {
    this.saved = saved;
  }

  private get currentSets(): DisplaySet[] {
    return [...this.displaySets.values()].filter((set) => !isOther(set));
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
      void viewport.open(next, next.isMultiFrame ? 0 : next.frames.length >> 1).then(() => void this.followReader());
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
    const shift = this.links.linkHere();
    this.say(shift === undefined ? word("cannot_link") : word("linked", shift.toFixed(1)));
    this.rewrite();
  }

  /** Let every viewport be moved by itself, to find the slice that shows the same; and together again. */
  toggleLinks(): void {
    this.links.isOn = !this.links.isOn;
    this.say(word(this.links.isOn ? "links_on" : "links_off"));
    this.links.follow(this.grid.active);
    this.rewrite();
  }

  linkOf(viewport: ReadingViewport): string {
    return this.links.wordFor(viewport);
  }

  private rewrite(): void {
    for (const viewport of this.grid.visible) viewport.write();
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
    if (this.planes?.isOpen) this.planes.preset(preset);
    else active.preset(preset);
    this.say(word(preset.name));
  }

  // -- what viewports tell ---------------------------------------------------------------------------------------

  shown(viewport: ReadingViewport): void {
    this.mark("firstImage");
    this.measurements.shown(viewport);
    // A large picture comes in coarse steps, of which only the last one has a scale.
    if (this.isUneven && viewport.quality !== "loading_lossy") this.evenScales();
    if (viewport === this.grid.active) this.moved(viewport);
  }

  moved(viewport: ReadingViewport): void {
    this.links.follow(viewport);
  }

  /** Where the active slice lies in the others, within one frame of reference. */
  drawn(viewport: ReadingViewport): void {
    const { active } = this.grid;
    const source = this.hasReferenceLines ? active : undefined;
    for (const target of viewport === active ? this.grid.visible : [viewport]) drawReferenceLine(target, source);
  }

  /** A comparison is only fair under one window: current and prior CT share it. */
  windowChanged(viewport: ReadingViewport): void {
    const window = viewport.window();
    if (!this.sharesWindow || !window || viewport !== this.grid.active) return;
    this.quietly(() => {
      for (const other of this.grid.visible) {
        const { displaySet } = other;
        const isComparison = isOther(displaySet) !== isOther(viewport.displaySet)
          && displaySet?.modality === viewport.displaySet?.modality && displaySet?.modality === "CT";
        if (other.hasImage && isComparison) other.setWindow(window);
      }
    });
  }

  /** A prior that has just been hung takes the window of the viewport before it. */
  private shareWindow(prior: ReadingViewport): void {
    const own = this.grid.visible.find((viewport) => !isOther(viewport.displaySet) && viewport.displaySet?.modality === "CT");
    const window = own?.window();
    const isAlone = this.grid.visible.filter((viewport) => viewport.displaySet && !isOther(viewport.displaySet)).length === 1;
    if (window && isAlone && prior.hasImage && prior.displaySet?.modality === "CT") this.quietly(() => prior.setWindow(window));
  }

  private quietly(act: () => void): void {
    this.sharesWindow = false;
    act();
    this.sharesWindow = true;
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

  private refresh(): void {
    const shown = new Map<string, number[]>();
    for (const viewport of this.grid.visible) {
      const id = viewport.displaySet?.id;
      if (id) shown.set(id, [...(shown.get(id) ?? []), viewport.number]);
    }
    this.strip.mark(shown, this.grid.active?.displaySet?.id);
    if (this.grid.active) this.drawn(this.grid.active);
    this.rewrite();
    this.qualityChanged();
    this.changed();
  }
}

const isOther = (set: DisplaySet | undefined): boolean => !!set && set.standing !== "current";
