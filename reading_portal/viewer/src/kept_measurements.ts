/** Measurements as the server keeps them: saved while one draws, shown again wherever the study is opened, undone and redone. */
import { Enums, annotation as annotations, utilities, type Types } from "@cornerstonejs/tools";
import { eventTarget } from "@cornerstonejs/core";
import { closes, kindOf, toolNameOf } from "./drawing_tools";
import type { Figure, Kind } from "./figures";
import type { CalibrationSource } from "./calibration";
import type { Point2 } from "./geometry";
import { History } from "./history";
import { frameOf, pixelsOf, readingAt, worldOf, type Annotated } from "./measurements";
import { Refused, answered, sendJson } from "./page";
import type { ReadingViewport } from "./viewport";
import { word } from "./words";

/** One measurement as drawn; points are [column, row], 0 at the centre of the first pixel. */
export interface Drawn {
  kind: Kind;
  sop_instance_uid: string;
  frame: number;
  points: Point2[];
  calibration: CalibrationSource;
  figures: Figure[];
}
interface Seen extends Drawn {
  uid: string;
  revision: number;
  author_name: string;
  is_own: boolean;
}
interface Item {
  studyInstanceUID: string;
  /** As it stands here; undefined once it is deleted. */
  drawn: Drawn | undefined;
  /** As the server has it, and at which of its revisions. */
  saved: Drawn | undefined;
  revision: number;
  /** Who drew it, where that was somebody else. */
  author: string;
  isSaving: boolean;
  attempts: number;
}
interface Step {
  uid: string;
  before: Drawn | undefined;
  after: Drawn | undefined;
}

/** A drag comes to rest before it is kept; a hundredth of a pixel is no change. */
const REST_MS = 250;
const SAME_PX = 0.01;
const MOST_POINTS = 2000;
const LONGEST_WAIT_MS = 30_000;
const { Events } = Enums;

export class KeptMeasurements {
  private readonly items = new Map<string, Item>();
  private readonly studies = new Map<string, "asked" | "here" | "closed">();
  private readonly history = new History<Step>();
  private readonly resting = new Map<string, number>();
  /** Drawn to the end, not still under the pointer. */
  private readonly completed = new Set<string>();
  private isApplying = false;
  private isPressed = false;

  constructor(private readonly csrf: string, private readonly visible: () => ReadingViewport[],
    private readonly waiting: (sentence: string) => void, private readonly say: (sentence: string) => void) {
    const on = (name: string, handle: (annotation: Types.Annotation) => void): void =>
      eventTarget.addEventListener(name, ((event: CustomEvent) => handle(event.detail.annotation)) as EventListener);
    on(Events.ANNOTATION_COMPLETED, ({ annotationUID }) => { this.completed.add(annotationUID!); this.rest(annotationUID!); });
    on(Events.ANNOTATION_MODIFIED, ({ annotationUID }) => { if (this.completed.has(annotationUID!)) this.rest(annotationUID!); });
    on(Events.ANNOTATION_REMOVED, ({ annotationUID }) => { if (this.completed.has(annotationUID!)) this.capture(annotationUID!); });
    window.addEventListener("pointerdown", () => { this.isPressed = true; }, true);
    for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => { this.isPressed = false; }, true);
    // The last stroke before the page is left is kept too.
    window.addEventListener("pagehide", () => {
      for (const uid of [...this.resting.keys()]) this.capture(uid);
      for (const [uid, item] of this.items) if (!item.isSaving && isUnsaved(item)) void this.send(uid, item, true).catch(() => undefined);
    });
  }

  get canUndo(): boolean {
    return this.history.canUndo;
  }

  get canRedo(): boolean {
    return this.history.canRedo;
  }

  /** Everything that stands here stands on the server too. */
  get isSaved(): boolean {
    return !this.resting.size && [...this.items.values()].every((item) => !isUnsaved(item));
  }

  /** A viewport shows a slice: what was measured in its display set is drawn there. */
  shown(viewport: ReadingViewport): void {
    const study = viewport.displaySet?.studyInstanceUID;
    if (!study) return;
    if (!this.studies.has(study)) void this.fetch(study);
    this.place(viewport);
  }

  undo(): void {
    const step = this.history.undo();
    if (step) this.apply(step.uid, step.before);
  }

  redo(): void {
    const step = this.history.redo();
    if (step) this.apply(step.uid, step.after);
  }

  /** Delete the selected own measurements; the last drawn own one on the screen when none is selected. */
  discard(): void {
    const isOwn = (uid: string): boolean => !this.items.get(uid)?.author;
    const selected = annotations.selection.getAnnotationsSelected().filter(isOwn);
    const shown = new Set(this.visible().map((viewport) => viewport.frame?.imageId));
    const last = annotations.state.getAllAnnotations()
      .findLast(({ annotationUID, metadata }) => isOwn(annotationUID!) && shown.has(metadata?.referencedImageId))?.annotationUID;
    for (const uid of selected.length ? selected : last ? [last] : []) annotations.state.removeAnnotation(uid);
    this.render();
  }

  /** The reader's measurements become a DICOM object of the study that this viewport shows. */
  async exportOwn(viewport: ReadingViewport): Promise<void> {
    const study = viewport.displaySet?.studyInstanceUID;
    const has = [...this.items.values()].some((item) => item.studyInstanceUID === study && !item.author && item.drawn);
    if (!study || !has) return this.say(word("measurements_none"));
    try {
      const { measurements } = await answered<{ measurements: number }>(sendJson("POST", `${urlOf(study)}/export`, undefined, this.csrf));
      this.say(word("measurements_exported", measurements));
    } catch (error) {
      this.say(word("measurements_refused", error instanceof Refused ? error.message : "–"));
    }
  }

  // -- from the screen -------------------------------------------------------------------------------------------

  private rest(uid: string): void {
    if (this.isApplying) return;
    clearTimeout(this.resting.get(uid));
    this.resting.set(uid, window.setTimeout(() => (this.isPressed ? this.rest(uid) : this.capture(uid)), REST_MS));
  }

  /** Take what stands on the screen as the newest state of this measurement. */
  private capture(uid: string): void {
    clearTimeout(this.resting.get(uid));
    this.resting.delete(uid);
    if (this.isApplying) return;
    const annotation = annotations.state.getAnnotation(uid);
    const after = annotation && drawnOf(annotation);
    const item = this.items.get(uid);
    if (annotation && !after) return;
    if (item?.author || isSame(item?.drawn, after)) return;
    const study = annotation ? frameOf(annotation.metadata?.referencedImageId ?? "")?.studyInstanceUID : item?.studyInstanceUID;
    if (!study) return;
    this.history.push({ uid, before: item?.drawn, after });
    this.stand(uid, study, after);
  }

  private stand(uid: string, studyInstanceUID: string, drawn: Drawn | undefined): void {
    const item = this.items.get(uid) ?? { studyInstanceUID, drawn: undefined, saved: undefined, revision: 0, author: "", isSaving: false, attempts: 0 };
    item.drawn = drawn;
    this.items.set(uid, item);
    void this.save(uid, item);
  }

  // -- to the screen ---------------------------------------------------------------------------------------------

  private apply(uid: string, drawn: Drawn | undefined): void {
    const item = this.items.get(uid);
    if (!item) return;
    this.draw(uid, drawn, "");
    this.stand(uid, item.studyInstanceUID, drawn);
    this.reveal(item, drawn);
    this.render();
  }

  /** Draw it as it is to stand: moved, drawn anew, or gone. */
  private draw(uid: string, drawn: Drawn | undefined, author: string): void {
    this.isApplying = true;
    try {
      // Drawn anew rather than moved: Cornerstone keeps figures, text boxes and contours of the old points.
      if (annotations.state.getAnnotation(uid)) annotations.state.removeAnnotation(uid);
      if (!drawn) return;
      for (const viewport of this.visible()) if (putOn(viewport, uid, drawn, author)) { this.completed.add(uid); return; }
    } finally {
      this.isApplying = false;
    }
  }

  private place(viewport: ReadingViewport): void {
    let isNew = false;
    this.isApplying = true;
    for (const [uid, { drawn, author, studyInstanceUID }] of this.items) {
      if (!drawn || studyInstanceUID !== viewport.displaySet?.studyInstanceUID || annotations.state.getAnnotation(uid)) continue;
      if (putOn(viewport, uid, drawn, author)) {
        this.completed.add(uid);
        isNew = true;
      }
    }
    this.isApplying = false;
    if (isNew) this.render();
  }

  /** What was undone is seen: the slice where it happened comes onto the screen. */
  private reveal({ drawn, saved }: Item, wanted: Drawn | undefined): void {
    const at = wanted ?? drawn ?? saved;
    if (!at) return;
    const places = this.visible().map((viewport) => ({ viewport, index: indexIn(viewport, at) })).filter(({ index }) => index >= 0);
    if (places.length && !places.some(({ viewport, index }) => viewport.index === index)) places[0]!.viewport.scrollTo(places[0]!.index);
  }

  private render(): void {
    utilities.triggerAnnotationRenderForViewportIds(this.visible().filter((viewport) => viewport.hasImage).map(({ id }) => id));
  }

  // -- the server ------------------------------------------------------------------------------------------------

  private async fetch(study: string, attempt = 0): Promise<void> {
    this.studies.set(study, "asked");
    try {
      const { items, keeps } = await keptOf(study);
      for (const seen of items) if (!this.items.has(seen.uid)) this.take(study, seen);
      // Whoever does not read here may measure, but nothing is kept for him.
      this.studies.set(study, keeps ? "here" : "closed");
      this.tellWaiting();
      for (const viewport of this.visible()) if (viewport.hasImage) this.place(viewport);
    } catch (error) {
      if (error instanceof Refused && !error.isPassing) {
        this.studies.set(study, "closed");
        return;
      }
      this.waiting(word("measurements_away"));
      setTimeout(() => void this.fetch(study, attempt + 1), pauseAfter(attempt));
    }
  }

  private take(study: string, { uid, revision, author_name, is_own, ...rest }: Seen): void {
    const { kind, sop_instance_uid, frame, points, calibration, figures } = rest;
    const drawn: Drawn = { kind, sop_instance_uid, frame, points, calibration, figures };
    this.items.set(uid, { studyInstanceUID: study, drawn, saved: drawn, revision, author: is_own ? "" : author_name, isSaving: false, attempts: 0 });
  }

  /** Bring the server to where the screen stands, one request at a time, until it is. */
  private async save(uid: string, item: Item): Promise<void> {
    if (this.studies.get(item.studyInstanceUID) === "closed") item.saved = item.drawn;
    this.tellWaiting();
    if (item.isSaving || !isUnsaved(item)) return;
    item.isSaving = true;
    try {
      while (isUnsaved(item)) await this.send(uid, item);
      item.attempts = 0;
    } catch (error) {
      await this.failed(uid, item, error);
    } finally {
      item.isSaving = false;
    }
    this.tellWaiting();
  }

  private async send(uid: string, item: Item, isLast = false): Promise<void> {
    const { drawn } = item;
    const url = `${urlOf(item.studyInstanceUID)}/${uid}`;
    const { revision } = await answered<{ revision: number }>(drawn
      ? sendJson("PUT", url, { revision: item.revision, ...drawn }, this.csrf, isLast)
      : sendJson("DELETE", `${url}?revision=${item.revision}`, undefined, this.csrf, isLast));
    item.saved = drawn;
    item.revision = revision;
  }

  private async failed(uid: string, item: Item, error: unknown): Promise<void> {
    if (error instanceof Refused && error.status === 409) {
      this.say(word("measurements_elsewhere"));
      await this.fetchAgain(uid, item);
    } else if (error instanceof Refused && !error.isPassing) {
      item.saved = item.drawn;
      if (this.studies.get(item.studyInstanceUID) !== "closed") this.say(word("measurements_refused", error.message));
    } else {
      item.attempts += 1;
      setTimeout(() => void this.save(uid, item), pauseAfter(item.attempts));
    }
  }

  /** The server's state wins: another window of the same person went on from there. */
  private async fetchAgain(uid: string, item: Item): Promise<void> {
    const { items } = await keptOf(item.studyInstanceUID).catch(() => ({ items: [] as Seen[], keeps: true }));
    this.items.delete(uid);
    this.history.forget((step) => step.uid === uid);
    for (const seen of items) if (seen.uid === uid) this.take(item.studyInstanceUID, seen);
    this.draw(uid, this.items.get(uid)?.drawn, "");
    this.render();
  }

  private tellWaiting(): void {
    const late = [...this.items.values()].filter((item) => item.attempts > 0 && isUnsaved(item)).length;
    this.waiting(late ? word("measurements_waiting", late) : "");
  }
}

const urlOf = (study: string): string => `/api/studies/${study}/measurements`;
const keptOf = (study: string): Promise<{ items: Seen[]; keeps: boolean }> => answered(fetch(urlOf(study), { credentials: "same-origin" }));
const pauseAfter = (attempt: number): number => Math.min(LONGEST_WAIT_MS, 1000 * 2 ** attempt);

/** One that was drawn and deleted before it was ever kept needs no server. */
const isUnsaved = ({ drawn, saved }: Item): boolean => drawn !== saved && !(drawn === undefined && saved === undefined);

function isSame(a: Drawn | undefined, b: Drawn | undefined): boolean {
  if (!a || !b) return a === b;
  return a.points.length === b.points.length
    && a.points.every(([column, row], index) => Math.hypot(column - b.points[index]![0], row - b.points[index]![1]) < SAME_PX);
}

function drawnOf(annotation: Types.Annotation): Drawn | undefined {
  const imageId = annotation.metadata?.referencedImageId ?? "";
  const kind = kindOf(annotation.metadata?.toolName ?? "");
  const known = frameOf(imageId);
  const points = thinned(pixelsOf(annotation.data as Annotated, imageId));
  const reading = kind && points && readingAt(kind, points, imageId);
  if (!kind || !known || !points || !reading) return undefined;
  return { kind, sop_instance_uid: known.frame.instance.sopInstanceUID, frame: known.frame.number, ...reading };
}

/** Thousandths of a pixel are beyond every eye, as are more points than these; what is kept is what is read. */
function thinned(points: Point2[] | undefined): Point2[] | undefined {
  const step = Math.ceil((points?.length ?? 0) / MOST_POINTS);
  const thousandths = (value: number): number => Math.round(value * 1000) / 1000;
  return points?.filter((_, index) => index % step === 0).map(([column, row]) => [thousandths(column), thousandths(row)]);
}

const indexIn = (viewport: ReadingViewport, { sop_instance_uid, frame }: Drawn): number => viewport.displaySet?.frames
  .findIndex(({ instance, number }) => instance.sopInstanceUID === sop_instance_uid && number === frame) ?? -1;

/** Hand a measurement to Cornerstone in a viewport that holds its slice; false where the slice is not in it. */
function putOn(viewport: ReadingViewport, uid: string, drawn: Drawn, author: string): boolean {
  const index = indexIn(viewport, drawn);
  if (index < 0 || !viewport.hasImage) return false;
  const imageId = viewport.displaySet!.frames[index]!.imageId;
  const points = worldOf(drawn.points, imageId);
  const reference = points && viewport.stack.getViewReference({ sliceIndex: index });
  if (!points || reference?.referencedImageId !== imageId) return false;
  const isContour = closes(drawn.kind);
  annotations.state.addAnnotation({
    annotationUID: uid,
    highlighted: false,
    isLocked: author !== "",
    isVisible: true,
    invalidated: true,
    metadata: { ...reference, toolName: toolNameOf(drawn.kind) },
    data: {
      label: "", cachedStats: {}, author,
      handles: { points: isContour ? [] : points, activeHandleIndex: null, textBox: emptyBox() },
      ...(isContour ? { contour: { polyline: points, closed: true } } : {}),
    },
  } as Types.Annotation, viewport.host);
  if (author) annotations.locking.setAnnotationLocked(uid, true);
  return true;
}

function emptyBox(): object {
  const nowhere = (): [number, number, number] => [0, 0, 0];
  return { hasMoved: false, worldPosition: nowhere(),
    worldBoundingBox: { topLeft: nowhere(), topRight: nowhere(), bottomLeft: nowhere(), bottomRight: nowhere() } };
}
