/** One viewport: a display set on the screen, from the first preview to the lossless slice. */
import { Enums, metaData, utilities, type RenderingEngine, type Types } from "@cornerstonejs/core";
import { TAG, frameNumbers } from "./attributes";
import { scaleAt } from "./calibration";
import { usesCPU } from "./cornerstone";
import type { DisplaySet, Frame } from "./display_sets";
import { isDamaged, sentenceFor } from "./failures";
import { valueText } from "./figure_words";
import { PAINTED } from "./first_frame";
import { pixelToWorld, worldToPixel, type Plane, type Point2 } from "./geometry";
import { mirrorsMammogram } from "./hanging";
import { pixelUnit, rememberFrame } from "./measurements";
import { registerMetadata } from "./metadata";
import { edgesOf, lettersAlong } from "./orientation";
import { Overlay } from "./overlay";
import { valueAt } from "./pixels";
import { enlarge, isMirrored, mirror, straighten, turn } from "./pose";
import { openingPreset, windowOf, type Preset, type Window } from "./presets";
import { Preview } from "./preview";
import type { PreviewStack } from "./preview_stack";
import { finalQuality, markQuality, type Quality } from "./quality";
import { Track } from "./track";
import { isVideo, nameOf } from "./transfer_syntaxes";
import { word } from "./words";

const PATIENCE_S = 120;
const { Events, ImageQualityStatus, ViewportType } = Enums;

export interface ViewportListener {
  shown(viewport: ReadingViewport): void;
  moved(viewport: ReadingViewport): void;
  windowChanged(viewport: ReadingViewport): void;
  waiting(viewport: ReadingViewport, isWaiting: boolean): void;
  qualityChanged(viewport: ReadingViewport): void;
  /** Its picture or its place on the screen has changed. */
  drawn(viewport: ReadingViewport): void;
  isKeyImage(frame: Frame): boolean;
  /** How this viewport is linked to the one where the reader is; empty where it is not. */
  linkOf(viewport: ReadingViewport): string;
}

export class ReadingViewport {
  readonly id: string;
  readonly host: HTMLDivElement;
  displaySet: DisplaySet | undefined;
  quality: Quality = "empty";
  private readonly overlay: Overlay;
  private readonly preview: Preview;
  private readonly mark: HTMLElement;
  private readonly message: HTMLElement;
  private readonly track: Track;
  private isEnabled = false;
  private wanted = 0;
  private ownWindow: Window | undefined;
  private cursor: Point2 | undefined;
  private isInverted = false;
  private patience = 0;

  constructor(private readonly engine: RenderingEngine, readonly cell: HTMLElement, readonly number: number,
    private readonly previews: PreviewStack, private readonly listener: ViewportListener) {
    this.id = `viewport-${number}`;
    cell.tabIndex = 0;
    this.host = document.createElement("div");
    this.host.className = "host";
    this.host.addEventListener("contextmenu", (event) => event.preventDefault());
    cell.prepend(this.host);
    this.preview = new Preview(cell);
    this.mark = cell.querySelector<HTMLElement>(".quality") ?? cell.appendChild(document.createElement("span"));
    this.mark.className = "quality";
    this.overlay = new Overlay(cell);
    this.message = cell.appendChild(document.createElement("div"));
    this.message.className = "message";
    this.message.hidden = true;
    this.track = new Track(cell, (share) => this.scrollTo(Math.round(share * ((this.displaySet?.frames.length ?? 1) - 1))));
    this.listen();
  }

  /** Cornerstone's viewport; only once `open` has been called with images. */
  get stack(): Types.IStackViewport {
    return this.engine.getViewport(this.id) as Types.IStackViewport;
  }

  get hasImage(): boolean {
    return this.isEnabled && !!this.displaySet?.frames.length && !!this.stack?.getCornerstoneImage();
  }

  /** Whether the pixels on the canvas are those of the slice asked for, not of the one before under a preview. */
  private get isCurrent(): boolean {
    return this.hasImage && this.quality !== "loading_lossy" && this.stack.getCornerstoneImage().imageId === this.frame?.imageId;
  }

  /** The slice that the reader asked for; what is on the screen follows as soon as it has arrived. */
  get index(): number {
    return this.wanted;
  }

  get frame(): Frame | undefined {
    return this.displaySet?.frames[this.wanted];
  }

  /** Show a display set from slice `index` on. Never rejects: a failure is said in the viewport. */
  async open(displaySet: DisplaySet, index: number): Promise<void> {
    this.displaySet = displaySet;
    this.wanted = Math.max(0, Math.min(index, displaySet.frames.length - 1));
    this.message.hidden = true;
    this.ownWindow = undefined;
    this.isInverted = false;
    this.host.style.pointerEvents = "";
    this.cell.classList.remove("is-empty");
    const frame = this.frame;
    if (!frame) {
      this.preview.hide();
      if (this.isEnabled) this.engine.disableElement(this.id);
      this.isEnabled = false;
      return this.say(word("no_pixels", displaySet.description || displaySet.modality), "empty");
    }
    this.preview.keepOnly(frame);
    this.showPreview(frame);
    this.setQuality(this.preview.isLossless(frame) ? "lossless" : "preview");
    this.write();
    if (isVideo(frame.instance.transferSyntaxUID)) return this.say(sentenceFor(frame, undefined), "failed");
    for (const each of displaySet.frames) rememberFrame(each, displaySet.studyInstanceUID);
    this.enable();
    this.wait();
    const opened = displaySet.id;
    try {
      await registerMetadata(displaySet);
      if (this.displaySet?.id !== opened) return;
      await this.stack.setStack(displaySet.frames.map(({ imageId }) => imageId), this.wanted);
    } catch (error) {
      this.say(sentenceFor(frame, error), "failed");
      return;
    }
    if (this.displaySet?.id !== opened || !this.hasImage) return;
    // The cell may have changed its size while the image was on its way.
    this.stack.resetCamera();
    this.applyOpeningState();
    this.stack.render();
  }

  clear(): void {
    this.displaySet = undefined;
    this.preview.hide();
    this.overlay.clear();
    this.cell.classList.add("is-empty");
    this.message.hidden = true;
    if (this.isEnabled) {
      this.engine.disableElement(this.id);
      this.isEnabled = false;
    }
    this.setQuality("empty");
  }

  scroll(delta: number): void {
    if (this.displaySet && this.isEnabled) this.stack.scroll(delta, true);
  }

  scrollTo(index: number): void {
    this.scroll(index - this.wanted);
  }

  window(): Window | undefined {
    const range = this.isEnabled ? this.stack.getProperties().voiRange : undefined;
    if (!range) return undefined;
    // Not (upper + lower) / 2: DICOM's LINEAR function is off by a half (PS3.3 C.11.2.1.2.1).
    const { windowWidth, windowCenter } = utilities.windowLevel.toWindowLevel(range.lower, range.upper);
    return { width: windowWidth, center: windowCenter };
  }

  setWindow({ width, center }: Window): void {
    const voiRange = utilities.windowLevel.toLowHighRange(width, center);
    this.stack.setProperties({ voiRange });
    this.stack.render();
  }

  preset(preset: Preset): void {
    if (this.hasImage && this.ownWindow && !this.stack.getCornerstoneImage().color) this.setWindow(windowOf(preset, this.ownWindow));
  }

  /** Which of these presets is on the screen, counted from 1; 0 for the image's own window and for any other. */
  presetShown(presets: Preset[]): number {
    const [own, shown] = [this.ownWindow, this.window()];
    const isLike = (a: Window, b: Window): boolean => Math.abs(a.width - b.width) < 1.5 && Math.abs(a.center - b.center) < 1.5;
    if (!own || !shown || isLike(own, shown)) return 0;
    return presets.findIndex((preset) => isLike(windowOf(preset, own), shown)) + 1;
  }

  invert(): void {
    if (!this.hasImage) return;
    this.isInverted = !this.isInverted;
    this.applyInversion();
    this.stack.render();
  }

  rotate(degrees: number): void {
    this.pose((stack) => turn(stack, degrees));
  }

  flip(): void {
    this.pose((stack) => mirror(stack, { flipHorizontal: !stack.getCamera().flipHorizontal }));
  }

  flipVertically(): void {
    this.pose((stack) => mirror(stack, { flipVertical: !stack.getCamera().flipVertical }));
  }

  zoomBy(factor: number): void {
    this.pose((stack) => enlarge(stack, factor));
  }

  /** One pixel of the image on one of the screen, as mammograms are searched for calcifications; the middle stays. */
  showOneToOne(): void {
    const corners = this.hasImage && this.frame ? this.pixelsOnScreen(this.frame) : undefined;
    if (!corners) return;
    const columns = Number(this.frame?.instance.attributes[TAG.columns]?.Value?.[0]);
    const across = Math.hypot(corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]) * devicePixelRatio;
    this.zoomBy(columns / across);
  }

  /** How many pixels of the screen a millimetre is long; undefined where nobody knows. */
  pixelsPerMillimetre(): number | undefined {
    const { frame } = this;
    const plane = frame && this.isCurrent ? this.plane() : undefined;
    if (!frame || !plane) return undefined;
    const scale = scaleAt(frame.instance.attributes, frame.number, []);
    const isPlain = scale.source !== "region" && scale.rowUnit === "mm" && scale.columnUnit === "mm";
    const [from, to] = ([[0, 0], [0, 10]] as Point2[]).map((pixel) => this.stack.worldToCanvas(pixelToWorld(plane, pixel))) as [Point2, Point2];
    return isPlain ? Math.hypot(to[0] - from[0], to[1] - from[1]) / 10 / scale.perRow : undefined;
  }

  /** Make a millimetre this many pixels long; mammograms go on meeting in the middle. */
  showAtScale(pixelsPerMillimetre: number): void {
    const own = this.pixelsPerMillimetre();
    if (!own || Math.abs(pixelsPerMillimetre / own - 1) < 0.001) return;
    this.pose((stack) => {
      enlarge(stack, pixelsPerMillimetre / own);
      this.meetInTheMiddle();
    });
  }

  private pose(change: (stack: Types.IStackViewport) => void): void {
    if (!this.hasImage) return;
    change(this.stack);
    this.stack.render();
  }

  reset(): void {
    if (!this.hasImage) return;
    this.stack.resetProperties();
    straighten(this.stack);
    this.isInverted = false;
    this.applyOpeningState();
    this.stack.render();
  }

  /** Value of the pixel under [column, row] of the slice on the screen, in modality units. */
  value(pixel: Point2): number | number[] | undefined {
    return this.isCurrent ? valueAt(this.stack.getCornerstoneImage(), pixel) : undefined;
  }

  /** Plane of the slice on the screen, as Cornerstone places it. */
  plane(): Plane | undefined {
    const imageId = this.hasImage ? this.stack.getCornerstoneImage().imageId : undefined;
    return imageId ? (metaData.get("imagePlaneModule", imageId) as Plane | undefined) : undefined;
  }

  failed(imageId: string, error: unknown): void {
    if (this.frame?.imageId !== imageId) return;
    console.warn("viewer: image not shown", this.frame.instance.sopInstanceUID, error);
    this.say(sentenceFor(this.frame, error), "failed");
    void isDamaged(this.frame).then((damaged) => {
      if (damaged && this.frame?.imageId === imageId) this.say(word("fail_damaged"), "failed");
    });
  }

  /** Write corners, letters and marks again. */
  write(): void {
    const { displaySet, frame } = this;
    if (!displaySet || !frame) return;
    const isReady = this.hasImage;
    this.overlay.write({
      displaySet, frame, index: this.wanted,
      window: isReady && !this.stack.getCornerstoneImage().color ? this.window() : undefined,
      zoom: isReady ? this.stack.getZoom() : undefined,
      isInverted: this.isInverted, isMirrored: isReady && isMirrored(this.stack), isCPU: usesCPU(),
      isKeyImage: this.listener.isKeyImage(frame), link: this.listener.linkOf(this), readout: this.readout(),
    });
    this.track.place(this.wanted, displaySet.frames.length);
    if (isReady) this.writeGeometry(frame);
    this.listener.drawn(this);
  }

  private enable(): void {
    if (this.isEnabled) return;
    this.engine.enableElement({ viewportId: this.id, element: this.host, type: ViewportType.STACK,
      defaultOptions: { background: [0, 0, 0] } });
    this.isEnabled = true;
    // Focus belongs to the cell: Cornerstone makes its element focusable and then swallows every key, Tab included.
    this.host.removeAttribute("tabindex");
    this.cell.dispatchEvent(new CustomEvent("viewport:enabled", { bubbles: true, detail: this.id }));
  }

  private applyOpeningState(): void {
    const { displaySet } = this;
    const image = this.hasImage ? this.stack.getCornerstoneImage() : undefined;
    if (!displaySet || !image) return;
    const hasWindow = frameNumbers(displaySet.frames[0]!.instance.attributes, 1, "00289132", TAG.windowWidth).length > 0;
    const preset = hasWindow ? undefined : openingPreset(displaySet.modality, displaySet.bodyPart);
    if (preset) this.setWindow({ width: preset.width, center: preset.center });
    this.ownWindow = this.window();
    if (mirrorsMammogram(displaySet)) mirror(this.stack, { flipHorizontal: true });
    this.applyInversion();
    this.meetInTheMiddle();
  }

  /** Mammograms stand back to back: the right breast's chest wall at the right edge of its cell, the left's at the left. */
  private meetInTheMiddle(): void {
    const side = this.displaySet?.modality === "MG" ? this.displaySet.laterality : "";
    this.cell.dataset["side"] = side;
    const corners = this.frame && side ? this.pixelsOnScreen(this.frame) : undefined;
    if (!corners || usesCPU()) return;
    const across = corners.map(([x]) => x);
    const [x, y] = this.stack.getPan();
    if (side === "R") this.stack.setPan([x + this.host.clientWidth - Math.max(...across), y]);
    if (side === "L") this.stack.setPan([x - Math.min(...across), y]);
  }

  /** The reader's inversion on top of the image's own: MONOCHROME1 is shown inverted to begin with. */
  private applyInversion(): void {
    this.stack.setProperties({ invert: this.stack.getCornerstoneImage().invert !== this.isInverted });
  }

  private listen(): void {
    const on = (name: string, handle: (event: CustomEvent) => void): void =>
      this.host.addEventListener(name, handle as EventListener);
    on(Events.IMAGE_RENDERED, () => this.rendered());
    on(Events.STACK_VIEWPORT_SCROLL, (event) => this.wantSlice(event.detail.newImageIdIndex));
    on(Events.PRE_STACK_NEW_IMAGE, (event) => this.wantSlice(event.detail.imageIdIndex));
    on(Events.VOI_MODIFIED, () => this.listener.windowChanged(this));
    this.cell.addEventListener(PAINTED, (event) => this.firstFramePainted(event));
    this.host.addEventListener("pointermove", (event) => this.pointAt(event));
    this.host.addEventListener("pointerleave", () => { this.cursor = undefined; this.write(); });
  }

  private wantSlice(index: number): void {
    const isNew = index !== this.wanted;
    this.wanted = index;
    const frame = this.frame;
    if (!frame || !this.isEnabled || this.stack.getCornerstoneImage()?.imageId === frame.imageId) return;
    if (isNew) this.message.hidden = true;
    this.leaveFirstPicture(frame);
    this.showPreview(frame);
    this.wait();
    this.write();
    if (isNew) this.listener.moved(this);
  }

  /** She scrolls before the viewer has drawn: what the server drew is no longer what she asks for. */
  private leaveFirstPicture(frame: Frame): void {
    this.preview.keepOnly(frame);
    if (!this.hasImage && this.quality === "lossless" && !this.preview.isLossless(frame)) this.setQuality("preview");
  }

  /** The first frame was painted without loss after its study was opened here. */
  private firstFramePainted(event: Event): void {
    if (!this.displaySet) return;
    event.preventDefault();
    if (this.quality === "preview" && this.frame && this.preview.isLossless(this.frame)) this.setQuality("lossless");
  }

  /** IMAGE_RENDERED comes for the empty first render too: only one with a window shows the image. */
  private rendered(): void {
    const frame = this.frame;
    const image = this.isEnabled ? this.stack.getCornerstoneImage() : undefined;
    if (!frame || !image || image.imageId !== frame.imageId || !this.stack.getProperties().voiRange) return;
    const isWhole = (image.imageQualityStatus ?? ImageQualityStatus.FULL_RESOLUTION) === ImageQualityStatus.FULL_RESOLUTION;
    this.ownWindow ??= this.window();
    this.message.hidden = true;
    requestAnimationFrame(() => { if (this.frame === frame) this.preview.hide(); });
    this.setQuality(isWhole ? finalQuality(frame) : "loading_lossy");
    // A coarse level has fewer pixels, so its places and lengths are not the image's: nothing may be measured on it.
    this.host.style.pointerEvents = isWhole ? "" : "none";
    this.write();
    if (isWhole) this.arrived();
    else this.wait();
    this.listener.shown(this);
  }

  /** Some broken objects make the decoder fall silent instead of failing; the reader must not wait for ever. */
  private wait(): void {
    this.listener.waiting(this, true);
    clearTimeout(this.patience);
    this.patience = window.setTimeout(() => this.say(word("fail_silent", PATIENCE_S), "failed"), PATIENCE_S * 1000);
  }

  private arrived(): void {
    clearTimeout(this.patience);
    this.listener.waiting(this, false);
  }

  private showPreview(frame: Frame): void {
    const known = this.previews.get(frame);
    if (known) {
      this.preview.show(known, this.pixelsOnScreen(frame));
      this.setQuality("preview");
      return;
    }
    if (this.preview.isServers(frame)) return;
    void this.previews.load(frame).then((picture) => {
      const isStillWanted = this.frame === frame && (!this.hasImage || this.stack.getCornerstoneImage().imageId !== frame.imageId);
      if (!picture || !isStillWanted) return;
      this.preview.show(picture, this.pixelsOnScreen(frame));
      if (this.quality !== "failed") this.setQuality("preview");
    });
  }

  /** Screen positions of the frame's top-left, top-right and bottom-left corners; undefined before anything is shown. */
  private pixelsOnScreen(frame: Frame): [Point2, Point2, Point2] | undefined {
    const plane = this.plane();
    if (!plane) return undefined;
    const rows = Number(frame.instance.attributes[TAG.rows]?.Value?.[0]);
    const columns = Number(frame.instance.attributes[TAG.columns]?.Value?.[0]);
    const corners: Point2[] = [[-0.5, -0.5], [columns - 0.5, -0.5], [-0.5, rows - 0.5]];
    return corners.map((corner) => this.stack.worldToCanvas(pixelToWorld(plane, corner)) as Point2) as [Point2, Point2, Point2];
  }

  private writeGeometry(frame: Frame): void {
    const plane = this.plane();
    if (!plane) return;
    const [origin, right, down] = ([[0, 0], [10, 0], [0, 10]] as Point2[])
      .map((pixel) => this.stack.worldToCanvas(pixelToWorld(plane, pixel)) as Point2) as [Point2, Point2, Point2];
    const step = (to: Point2): Point2 => [(to[0] - origin[0]) / 10, (to[1] - origin[1]) / 10];
    this.overlay.letter(edgesOf(lettersAlong(frame.instance.attributes, frame.number), [step(right), step(down)]));
    this.overlay.scale(this.pixelsPerMillimetre(), this.host.clientHeight);
  }

  private readout(): string | undefined {
    const value = this.cursor ? this.value(this.cursor) : undefined;
    if (value === undefined || !this.cursor || !this.frame) return undefined;
    const [column, row] = this.cursor.map(Math.round) as Point2;
    return `(${column}, ${row})  ${valueText(value, pixelUnit(this.frame.instance.attributes))}`;
  }

  private pointAt(event: PointerEvent): void {
    const plane = this.plane();
    if (!plane) return;
    const box = this.host.getBoundingClientRect();
    const world = this.stack.canvasToWorld([event.clientX - box.left, event.clientY - box.top]);
    this.cursor = worldToPixel(plane, world);
    this.write();
  }

  private say(sentence: string, quality: Quality): void {
    const retry = document.createElement("button");
    retry.type = "button";
    retry.textContent = word("retry");
    retry.addEventListener("click", () => { if (this.displaySet) void this.open(this.displaySet, this.wanted); });
    const line = document.createElement("p");
    line.textContent = sentence;
    this.message.replaceChildren(line, ...(this.frame && !isVideo(this.frame.instance.transferSyntaxUID) ? [retry] : []));
    this.message.hidden = false;
    this.message.dataset["syntax"] = this.frame ? nameOf(this.frame.instance.transferSyntaxUID) : "";
    this.arrived();
    this.setQuality(quality);
    this.write();
    if (!this.frame) this.overlay.clear();
  }

  private setQuality(quality: Quality): void {
    markQuality(this.mark, quality);
    if (this.quality === quality) return;
    this.quality = quality;
    this.listener.qualityChanged(this);
  }
}
