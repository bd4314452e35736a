/** Which display set stands where when a study opens: what readers saved, else rules by modality, as tables. Pure. */
import { TAG, frameNumbers, text } from "./attributes";
import { regionOf } from "./body_parts";
import type { DisplaySet } from "./display_sets";
import { cross } from "./geometry";
import { cellsOf, type Layout } from "./layouts";
import type { Manifest, Prior } from "./manifest";

/** What to look for in a cell. Cells of one `source` show one series; `window` is a preset's number, 0 the image's own. */
export interface Cell {
  source: number;
  standing: "current" | "prior";
  modality: string;
  laterality: string;
  view: string;
  plane: string;
  description: string;
  window: number;
}

/** A hanging as somebody saved it; empty words stand for any. */
export interface SavedHanging {
  id: number;
  for_department: boolean;
  version: number;
  name: string;
  modality: string;
  body_part: string;
  laterality: string;
  views: string[];
  layout: Layout;
  cells: (Cell | null)[];
}

export interface Placed {
  displaySet: DisplaySet;
  window: number;
}
export interface Hanging {
  layout: Layout;
  cells: (Placed | undefined)[];
}

/** What hangings are chosen by. */
export interface Facts {
  modality: string;
  bodyPart: string;
  laterality: string;
  views: string[];
}

/** Screening order, right breast on the reader's left, chest walls meeting in the middle (IHE Mammography Image). */
const MAMMOGRAPHY: [laterality: string, view: string][] = [["R", "CC"], ["L", "CC"], ["R", "MLO"], ["L", "MLO"]];
const RADIOGRAPHY = new Set(["CR", "DX", "RG"]);

const put = (displaySet: DisplaySet | undefined): Placed | undefined => displaySet && { displaySet, window: 0 };
const imagesOf = (sets: DisplaySet[]): DisplaySet[] => sets.filter((set) => set.frames.length > 0);

/** The house's own hanging of a study alone. */
export function hangingFor(displaySets: DisplaySet[]): Hanging {
  const images = imagesOf(displaySets);
  const mammograms = images.filter((set) => set.modality === "MG");
  if (mammograms.length > 1) {
    const views = MAMMOGRAPHY.map(([side, view]) => mammograms.find((set) => set.laterality === side && set.view === view));
    if (views.some(Boolean)) return { layout: "2x2", cells: views.map(put) };
  }
  if (images.length === 2 && images.every((set) => RADIOGRAPHY.has(set.modality))) {
    return { layout: "1x2", cells: [...images].sort((a, b) => Number(isLateral(a)) - Number(isLateral(b))).map(put) };
  }
  const worth = images.filter((set) => !isLocalizer(set));
  if (worth.length > 3 && worth.every((set) => set.modality === "MR")) return { layout: "2x2", cells: worth.slice(0, 4).map(put) };
  return { layout: "1x1", cells: [put(worth[0] ?? images[0] ?? displaySets[0])] };
}

/** Cells for a prior beside those of a study: each picture beside its own, or under it where two stand in a row. */
const BESIDE: Partial<Record<Layout, { layout: Layout; order: [cell: number, isPrior: boolean][] }>> = {
  "1x1": { layout: "1x2", order: [[0, false], [0, true]] },
  "1x2": { layout: "2x2", order: [[0, false], [1, false], [0, true], [1, true]] },
  "2x2": { layout: "2x4", order: [[0, false], [1, false], [0, true], [1, true], [2, false], [3, false], [2, true], [3, true]] },
};

/** The hanging with an earlier study beside it; undefined where nothing of that study can be compared with it. */
export function besidePrior(hanging: Hanging, prior: DisplaySet[]): Hanging | undefined {
  const wider = BESIDE[hanging.layout];
  if (!wider) return undefined;
  const used = new Set<DisplaySet>();
  const counterparts = hanging.cells.map((cell) => {
    const found = cell && mostSimilar(imagesOf(prior).filter((set) => !used.has(set)), cell.displaySet);
    if (found) used.add(found);
    return found && { displaySet: found, window: cell.window };
  });
  if (!counterparts.some(Boolean)) return undefined;
  return { layout: wider.layout, cells: wider.order.map(([cell, isPrior]) => isPrior ? counterparts[cell] : hanging.cells[cell]) };
}

/** Of one modality, never of the other side or view; then by plane, words and number of slices. */
export function mostSimilar(sets: DisplaySet[], current: DisplaySet): DisplaySet | undefined {
  const wanted = cellOf(current, 0, 0);
  const isProjection = current.view !== "" && current.frames.length === 1;
  return bestOf(sets, { ...wanted, standing: "prior", view: isProjection ? wanted.view : "" }, current.frames.length);
}

// -- what readers saved --------------------------------------------------------------------------------------------

export function factsOf(displaySets: DisplaySet[]): Facts {
  const images = imagesOf(displaySets);
  const main = images.find((set) => !isLocalizer(set)) ?? images[0];
  const sides = new Set(images.map(({ laterality }) => laterality).filter((side) => side && side !== "U"));
  return {
    modality: main?.modality ?? "",
    bodyPart: regionOf(main?.bodyPart ?? "", main?.description ?? "", main?.studyDescription ?? "") ?? "",
    laterality: sides.size > 1 ? "B" : [...sides][0] ?? "",
    views: [...new Set(images.map(({ view }) => view).filter(Boolean))].sort(),
  };
}

/** What was saved for such a study: the reader's own before the department's, the narrower before the wider. */
export function chosenFor(saved: SavedHanging[], facts: Facts): SavedHanging | undefined {
  const says = (wanted: string, is: string): boolean => !wanted || wanted === is;
  const rank = (one: SavedHanging): number => (one.for_department ? 0 : 1000) + one.views.length
    + [one.modality, one.body_part, one.laterality].filter(Boolean).length * 20;
  return saved.filter((one) => says(one.modality, facts.modality) && says(one.body_part, facts.bodyPart)
    && says(one.laterality, facts.laterality) && one.views.every((view) => facts.views.includes(view)))
    .sort((a, b) => rank(b) - rank(a))[0];
}

/** Put a saved hanging's cells to these studies; what is not found stays empty. */
export function arrange(saved: SavedHanging, current: DisplaySet[], prior: DisplaySet[]): Hanging {
  const found = new Map<string, DisplaySet>();
  for (const cell of saved.cells) {
    const key = cell && `${cell.standing}/${cell.source}`;
    if (!cell || !key || found.has(key)) continue;
    const free = imagesOf(cell.standing === "prior" ? prior : current).filter((set) => ![...found.values()].includes(set));
    const best = bestOf(free, cell);
    if (best) found.set(key, best);
  }
  return { layout: saved.layout, cells: Array.from({ length: cellsOf(saved.layout) }, (_, number) => {
    const cell = saved.cells[number];
    const displaySet = cell && found.get(`${cell.standing}/${cell.source}`);
    return cell && displaySet ? { displaySet, window: cell.window } : undefined;
  }) };
}

export const wantsPrior = (saved: SavedHanging): boolean => saved.cells.some((cell) => cell?.standing === "prior");

/** What to look for, to find this display set's like in another study. */
export function cellOf(set: DisplaySet, source: number, window: number): Cell {
  return { source, standing: set.standing === "current" ? "current" : "prior", modality: set.modality,
    laterality: ["L", "R", "B"].includes(set.laterality) ? set.laterality : "", view: set.view.slice(0, 64), plane: planeOf(set),
    description: set.description.slice(0, 64), window };
}

function bestOf(sets: DisplaySet[], cell: Cell, slices = 0): DisplaySet | undefined {
  const isOtherSide = (set: DisplaySet): boolean => !!cell.laterality && !!set.laterality && set.laterality !== cell.laterality;
  const fits = sets.filter((set) => (!cell.modality || set.modality === cell.modality) && !isOtherSide(set)
    && (!cell.view || !set.view || set.view === cell.view));
  const score = (set: DisplaySet): number => likeness(set.description, cell.description) * 8
    + (cell.view && set.view === cell.view ? 8 : 0) + (cell.plane && planeOf(set) === cell.plane ? 6 : 0)
    - (isLocalizer(set) && !/scout|topogram|localizer|定位/i.test(cell.description) ? 12 : 0)
    - (slices ? Math.min(6, 2 * Math.abs(Math.log(set.frames.length / slices))) : 0);
  return [...fits].sort((a, b) => score(b) - score(a))[0];
}

/** How alike two descriptions are, 0 to 1, by their words; Chinese, which has no blanks, by its characters. */
function likeness(a: string, b: string): number {
  const [one, other] = [a, b].map((text) => new Set(text.toLowerCase().match(/[a-z0-9.]+|\p{Script=Han}/gu) ?? [])) as [Set<string>, Set<string>];
  const both = [...one].filter((word) => other.has(word)).length;
  const all = one.size + other.size - both;
  return all ? both / all : 0;
}

/** axial, coronal or sagittal; empty for oblique slices and for pictures without a place. */
export function planeOf(set: DisplaySet): string {
  const head = set.frames[0];
  const cosines = head ? frameNumbers(head.instance.attributes, head.number, TAG.planeOrientation, TAG.orientation) : [];
  if (cosines.length !== 6) return "";
  const normal = cross(cosines.slice(0, 3), cosines.slice(3)).map(Math.abs);
  return ["sagittal", "coronal", "axial"].find((_, axis) => normal[axis]! > 0.8) ?? "";
}

// -- which earlier study -------------------------------------------------------------------------------------------

/** The earlier study that is shown without being asked for: of the same modality, and of the same region where both are known. */
export function priorToShow(manifest: Manifest, facts: Facts): Prior | undefined {
  const region = (prior: Prior): string => regionOf(prior.body_part ?? "", prior.description) ?? "";
  return [...(manifest.priors ?? [])].filter((prior) => !prior.is_later && prior.modality.split("\\").includes(facts.modality)
    && (!region(prior) || !facts.bodyPart || region(prior) === facts.bodyPart))
    .sort((a, b) => Number(region(b) === facts.bodyPart) - Number(region(a) === facts.bodyPart) || b.study_date.localeCompare(a.study_date))[0];
}

function isLateral(set: DisplaySet): boolean {
  return /^(LL|RL|LAT|LATERAL)$/i.test(set.view) || /\b(lat|lateral)\b|侧位/i.test(set.description);
}

function isLocalizer(set: DisplaySet): boolean {
  const type = set.frames[0]?.instance.attributes[TAG.imageType]?.Value ?? [];
  return type.includes("LOCALIZER") || /scout|topogram|localizer|定位/i.test(set.description);
}

/**
 * Whether a mammogram must be mirrored so that its chest wall faces the middle of the screen.
 * PatientOrientation's first value tells where columns run to: to the nipple (A) or to the chest wall (P).
 */
export function mirrorsMammogram(set: DisplaySet): boolean {
  if (set.modality !== "MG") return false;
  const attributes = set.frames[0]?.instance.attributes ?? {};
  const rows = text(attributes, TAG.patientOrientation);
  return (set.laterality === "R" && rows.startsWith("A")) || (set.laterality === "L" && rows.startsWith("P"));
}
