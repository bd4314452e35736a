import { describe, expect, test } from "vitest";
import type { DisplaySet, Standing } from "../src/display_sets";
import { arrange, besidePrior, cellOf, chosenFor, factsOf, hangingFor, mostSimilar, priorToShow, type Cell, type SavedHanging } from "../src/hanging";
import type { Layout } from "../src/layouts";
import type { Manifest, Prior } from "../src/manifest";
import { ds } from "./dicom_json";

interface Words { modality?: string; description?: string; laterality?: string; view?: string; bodyPart?: string; frames?: number; standing?: Standing; orientation?: number[] }
const AXIAL = [1, 0, 0, 0, 1, 0], CORONAL = [1, 0, 0, 0, 0, -1], SAGITTAL = [0, 1, 0, 0, 0, -1];
const set = (id: string, { modality = "CT", description = "", laterality = "", view = "", bodyPart = "", frames = 10, standing = "current",
  orientation = AXIAL }: Words = {}): DisplaySet =>
  ({ id, modality, description, laterality, view, bodyPart, standing, studyDescription: "", frames: Array.from({ length: frames }, () =>
    ({ number: 1, instance: { attributes: { "00200037": ds(...orientation) } } })) }) as unknown as DisplaySet;
const names = ({ cells }: { cells: ({ displaySet: DisplaySet } | undefined)[] }) => cells.map((cell) => cell?.displaySet.id);
const saved = (words: Partial<SavedHanging>): SavedHanging =>
  ({ id: 1, for_department: false, version: 1, name: "", modality: "", body_part: "", laterality: "", views: [], layout: "1x1", cells: [null], ...words });
const cell = (words: Partial<Cell>): Cell =>
  ({ source: 0, standing: "current", modality: "CT", laterality: "", view: "", plane: "", description: "", window: 0, ...words });

describe("a prior stands beside the study", () => {
  const prior = (id: string, words: Words = {}) => set(id, { ...words, standing: "prior" });

  test("with the series that is most like the current one: never of the other side, and not the localizer", () => {
    const others = [prior("scout", { description: "定位像 scout" }), prior("cor", { orientation: CORONAL }), prior("ax", { description: "胸部 5mm" })];
    expect(mostSimilar(others, set("now", { description: "胸部平扫 5mm" }))!.id).toBe("ax");
    expect(mostSimilar([prior("mr", { modality: "MR" })], set("now"))).toBeUndefined();
    const left = prior("left", { modality: "DX", laterality: "L", view: "AP", frames: 1 });
    expect(mostSimilar([left], set("now", { modality: "DX", laterality: "R", view: "AP", frames: 1 }))).toBeUndefined();
  });

  test("each view under its own", () => {
    const views = ["PA", "LL"].map((view) => set(view, { modality: "DX", view, frames: 1, orientation: [] }));
    const before = ["LL", "PA"].map((view) => prior(`old ${view}`, { modality: "DX", view, frames: 1, orientation: [] }));
    const hanging = besidePrior(hangingFor(views), before)!;
    expect([hanging.layout, names(hanging)]).toEqual(["2x2", ["PA", "LL", "old PA", "old LL"]]);
  });

  test("four mammograms beside four, each pair back to back", () => {
    const four = (standing: Standing) => [["R", "CC"], ["L", "CC"], ["R", "MLO"], ["L", "MLO"]].map(([laterality, view]) =>
      set(`${standing} ${laterality}${view}`, { modality: "MG", laterality, view, frames: 1, standing, orientation: [] }));
    const hanging = besidePrior(hangingFor(four("current")), four("prior").reverse())!;
    expect([hanging.layout, names(hanging)]).toEqual(["2x4", ["current RCC", "current LCC", "prior RCC", "prior LCC",
      "current RMLO", "current LMLO", "prior RMLO", "prior LMLO"]]);
  });

  test("not at all when nothing can be compared", () => {
    expect(besidePrior(hangingFor([set("now")]), [prior("us", { modality: "US" })])).toBeUndefined();
  });

  test("by itself when it is earlier and of the same modality and region, the newest of these", () => {
    const study = (date: string, modality: string, body_part: string, is_later = false): Prior =>
      ({ study_instance_uid: date, study_date: date, description: "", modality, body_part, is_later, manifest: "" });
    const priors = [study("20260101", "CT", "HEAD"), study("20250101", "CT", "胸部"), study("20240101", "CT", "CHEST"),
      study("20260301", "DX", "CHEST"), study("20270101", "CT", "CHEST", true)];
    const facts = { modality: "CT", bodyPart: "chest", laterality: "", views: [] };
    expect(priorToShow({ priors } as unknown as Manifest, facts)!.study_date).toBe("20250101");
    expect(priorToShow({ priors } as unknown as Manifest, { ...facts, bodyPart: "leg" })).toBeUndefined();
  });
});

describe("a saved hanging", () => {
  test("is chosen by modality, body part, side and views: the own before the department's, the narrower before the wider", () => {
    const knee = factsOf([set("a", { modality: "DX", laterality: "L", view: "AP", bodyPart: "KNEE", frames: 1 }),
      set("b", { modality: "DX", laterality: "L", view: "LL", bodyPart: "KNEE", frames: 1 })]);
    expect(knee).toEqual({ modality: "DX", bodyPart: "leg", laterality: "L", views: ["AP", "LL"] });
    const all = [saved({ id: 1, for_department: true, modality: "DX", body_part: "leg", laterality: "L" }), saved({ id: 2, modality: "DX" }),
      saved({ id: 3, modality: "DX", body_part: "leg" }), saved({ id: 4, modality: "DX", body_part: "leg", laterality: "R" }),
      saved({ id: 5, modality: "DX", body_part: "leg", views: ["AP", "LL"] }), saved({ id: 6, modality: "DX", body_part: "leg", views: ["SKYLINE"] })];
    const order = [5, 3, 2, 1].map((expected) => {
      const chosen = chosenFor(all, knee)!;
      all.splice(all.indexOf(chosen), 1);
      return [chosen.id, expected];
    });
    expect(order.map(([chosen]) => chosen)).toEqual(order.map(([, expected]) => expected));
    expect(chosenFor(all, knee)).toBeUndefined();
  });

  test("finds the like of its series in another study, whatever their numbers and order", () => {
    const sequences = [set("loc", { modality: "MR", description: "localizer" }), set("cor", { modality: "MR", description: "T2 COR fs", orientation: CORONAL }),
      set("t1", { modality: "MR", description: "T1 SAG TSE", orientation: SAGITTAL }), set("t2", { modality: "MR", description: "T2 SAG TSE", orientation: SAGITTAL })];
    const hanging = arrange(saved({ layout: "2x2", cells: [
      cell({ source: 0, modality: "MR", plane: "sagittal", description: "SAG T2" }), cell({ source: 1, modality: "MR", plane: "sagittal", description: "SAG T1" }),
      cell({ source: 2, modality: "MR", plane: "coronal", description: "COR T2 STIR" }), null] }), sequences, []);
    expect(names(hanging)).toEqual(["t2", "t1", "cor", undefined]);
  });

  test("shows one series twice where it was saved so, each time in its own window", () => {
    const hanging = arrange(saved({ layout: "1x2", cells: [cell({ window: 2 }), cell({ window: 5 })] }), [set("thin"), set("thick")], []);
    expect(names(hanging)).toEqual(["thin", "thin"]);
    expect(hanging.cells.map((placed) => placed!.window)).toEqual([2, 5]);
  });

  test("leaves a cell empty rather than show the other side in it", () => {
    const hanging = arrange(saved({ layout: "1x2", cells: [cell({ modality: "DX", laterality: "L" }), cell({ source: 1, modality: "DX", laterality: "L" })] }),
      [set("right", { modality: "DX", laterality: "R" }), set("left", { modality: "DX", laterality: "L" })], []);
    expect(names(hanging)).toEqual(["left", undefined]);
  });

  test("made of what is on the screen finds that again", () => {
    const sets = [set("a", { description: "肺窗" }), set("b", { description: "纵隔窗" })];
    const again = arrange(saved({ layout: "1x2", cells: [cellOf(sets[1]!, 0, 0), cellOf(sets[0]!, 1, 2)] }), sets, []);
    expect(names(again)).toEqual(["b", "a"]);
  });
});

test("four sequences of an MR open together", () => {
  const sets = ["a", "b", "c", "d", "e"].map((id) => set(id, { modality: "MR" }));
  expect([hangingFor(sets).layout, names(hangingFor(sets))] as [Layout, string[]]).toEqual(["2x2", ["a", "b", "c", "d"]]);
});
