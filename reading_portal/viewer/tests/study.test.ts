import { beforeAll, describe, expect, test, vi } from "vitest";
import { displaySetsOf, viewOf } from "../src/display_sets";
import { hangingFor, mirrorsMammogram } from "../src/hanging";
import { mergedAttributes, mostComparable, type Manifest, type ManifestInstance, type ManifestSeries, type Prior } from "../src/manifest";
import { paletteValues } from "../src/palettes";
import { openingPreset, presetsFor, windowOf } from "../src/presets";
import { outward } from "../src/preview_stack";
import { groupsOf } from "../src/series_strip";
import { isLossy, isVideo } from "../src/transfer_syntaxes";
import { CT, cs, ds, sq } from "./dicom_json";

beforeAll(() => { vi.stubGlobal("location", { origin: "https://portal" }); });

const MATRIX = { "00280010": { vr: "US", Value: [512] }, "00280011": { vr: "US", Value: [512] } };
const instance = (uid: string, varying = {}, frames = 1): ManifestInstance =>
  ({ sop_instance_uid: uid, frames, transfer_syntax_uid: "1.2.840.10008.1.2.1", varying });
const series = (modality: string, instances: ManifestInstance[], common = {}): ManifestSeries =>
  ({ series_instance_uid: `se-${modality}-${instances[0]?.sop_instance_uid}`, modality, series_number: 1, description: "", body_part: "", laterality: "",
    common: { ...MATRIX, ...common }, instances });
const study = (...all: ManifestSeries[]): Manifest => ({ study_instance_uid: "1.2", study_date: "20261101", study_description: "",
  patient: { name: "", sex: "", age: "", birth_date: "", patient_id: "" }, series: all, priors: [] });

describe("the manifest", () => {
  test("gives each instance what its series shares and what is its own", () => {
    const merged = mergedAttributes(series("CT", [], { "00080016": cs(CT), "00180050": ds(1) }), instance("a", { "00180050": ds(2) }));
    expect(merged["00180050"]).toEqual(ds(2));
    expect(merged["00080016"]).toEqual(cs(CT));
  });

  test("loses spacings that cannot be, in the dataset and in functional groups", () => {
    const common = { "00280030": ds("0", "0"), "00181164": ds(0.1, 0.1), "52009229": sq({ "00289110": sq({ "00280030": ds(0, 1), "00180050": ds(3) }) }) };
    const merged = mergedAttributes(series("CR", [], common), instance("a"));
    expect(merged["00280030"]).toBeUndefined();
    expect(merged["00181164"]).toBeDefined();
    expect(merged["52009229"]).toEqual(sq({ "00289110": sq({ "00180050": ds(3) }) }));
  });
});

describe("display sets", () => {
  test("stack slices, but keep radiographs and clips apart", () => {
    const sets = displaySetsOf(study(series("CT", [instance("a"), instance("b")]), series("DX", [instance("c"), instance("d")]),
      series("US", [instance("e"), instance("f", {}, 30)])), "/dicom-web");
    expect(sets.map(({ frames }) => frames.length)).toEqual([2, 1, 1, 1, 30]);
    expect(sets[4]!.isMultiFrame).toBe(true);
    expect(sets[4]!.frames[29]!.imageId).toMatch(/^wadors:https:\/\/portal\/dicom-web\/studies\/1\.2\/series\/.*\/instances\/f\/frames\/30$/);
  });

  test("of reports have no frames", () => {
    const sets = displaySetsOf(study({ ...series("SR", [instance("a")]), common: {} }), "/dicom-web");
    expect(sets[0]!.frames).toEqual([]);
  });

  test("read the mammographic view from its code", () => {
    expect(viewOf({ "00540220": sq({ "00080104": { vr: "LO", Value: ["medio-lateral oblique"] } }) })).toBe("MLO");
    expect(viewOf({ "00540220": sq({ "00080104": { vr: "LO", Value: ["cranio-caudal"] } }) })).toBe("CC");
  });
});

describe("other studies of the same person", () => {
  const other = (date: string, is_later: boolean, modality = "CT"): Prior =>
    ({ study_instance_uid: date, study_date: date, description: "", modality, manifest: "", is_later });
  const ct = (...priors: Prior[]): Manifest => ({ ...study(series("CT", [instance("a")])), priors });

  test("are compared with an earlier one first, be it of another modality", () => {
    expect(mostComparable(ct(other("20260801", false, "DX"), other("20261115", true)))!.study_date).toBe("20260801");
    expect(mostComparable(ct(other("20260801", false), other("20260901", false)))!.study_date).toBe("20260901");
  });

  test("are compared with the nearest where all are later", () => {
    expect(mostComparable(ct(other("20270301", true), other("20261115", true)))!.study_date).toBe("20261115");
    expect(mostComparable(ct())).toBeUndefined();
  });

  test("stand under their own heading when they are later, and no heading stands over nothing", () => {
    const [earlier, later] = [other("20260801", false), other("20261115", true)];
    expect(groupsOf([earlier, later])).toEqual([["priors", [earlier]], ["later_exams", [later]]]);
    expect(groupsOf([later])).toEqual([["later_exams", [later]]]);
    expect(groupsOf([])).toEqual([]);
  });

  test("say in every display set what they are to the one that is read", () => {
    const standings = [displaySetsOf(ct(), "/d"), displaySetsOf(ct(), "/d", "later")].map(([set]) => set!.standing);
    expect(standings).toEqual(["current", "later"]);
  });
});

describe("hanging", () => {
  const mammogram = (side: string, view: string) => series("MG", [instance(side + view)], { "00200062": cs(side), "00185101": cs(view) });

  test("places four mammograms with the right breast on the left", () => {
    const sets = displaySetsOf(study(mammogram("L", "MLO"), mammogram("L", "CC"), mammogram("R", "MLO"), mammogram("R", "CC")), "/d");
    const { layout, cells } = hangingFor(sets);
    expect(layout).toBe("2x2");
    expect(cells.map((cell) => `${cell?.displaySet.laterality}${cell?.displaySet.view}`)).toEqual(["RCC", "LCC", "RMLO", "LMLO"]);
  });

  test("mirrors a mammogram whose chest wall would face outward", () => {
    const [right] = displaySetsOf(study(series("MG", [instance("a")], { "00200062": cs("R"), "00200020": cs("A", "R") })), "/d");
    const [left] = displaySetsOf(study(series("MG", [instance("a")], { "00200062": cs("L"), "00200020": cs("A", "R") })), "/d");
    expect([mirrorsMammogram(right!), mirrorsMammogram(left!)]).toEqual([true, false]);
  });

  test("shows the frontal chest left of the lateral one", () => {
    const radiograph = (view: string) => series("DX", [instance(view)], { "00185101": cs(view) });
    const { layout, cells } = hangingFor(displaySetsOf(study(radiograph("LL"), radiograph("PA")), "/d"));
    expect([layout, cells.map((cell) => cell?.displaySet.view)]).toEqual(["1x2", ["PA", "LL"]]);
  });

  test("does not open with a localizer", () => {
    const sets = displaySetsOf(study(series("CT", [instance("scout")], { "00080008": cs("ORIGINAL", "PRIMARY", "LOCALIZER") }),
      series("CT", [instance("a"), instance("b")])), "/d");
    expect(hangingFor(sets).cells[0]!.displaySet.frames).toHaveLength(2);
  });
});

describe("windows", () => {
  test("are the same numbers on every CT", () => {
    expect(windowOf(presetsFor("CT")[1]!, { width: 1, center: 1 })).toEqual({ width: 1500, center: -600 });
  });

  test("of MR are relative to the image's own", () => {
    expect(windowOf(presetsFor("MR")[1]!, { width: 1000, center: 400 })).toEqual({ width: 600, center: 400 });
    expect(windowOf(presetsFor("MR")[4]!, { width: 1000, center: 0 })).toEqual({ width: 1000, center: -250 });
  });

  test("open a head in the brain window when the header brings none", () => {
    expect(openingPreset("CT", "HEAD")!.name).toBe("preset_brain");
    expect(openingPreset("CT", "")!.name).toBe("preset_soft_tissue");
    expect(openingPreset("MR", "HEAD")).toBeUndefined();
  });
});

test("a lossy picture is called lossy, a reversible one in a lossy-capable syntax is not", () => {
  expect(isLossy("1.2.840.10008.1.2.4.50", "")).toBe(true);
  expect(isLossy("1.2.840.10008.1.2.4.91", "00")).toBe(false);
  expect(isLossy("1.2.840.10008.1.2.1", "01")).toBe(true);
  expect(isLossy("1.2.840.10008.1.2.4.202", "")).toBe(false);
});

test("video is known by its transfer syntax", () => {
  expect(isVideo("1.2.840.10008.1.2.4.103")).toBe(true);
  expect(isVideo("1.2.840.10008.1.2.4.90")).toBe(false);
});

test("palettes are read as packed bytes or as words", () => {
  expect(paletteValues(new Uint8Array([1, 2, 3, 4]), [4, 0, 8])).toEqual([1, 2, 3, 4]);
  expect(paletteValues(new Uint8Array([0, 1, 255, 255]), [2, 0, 16])).toEqual([256, 65535]);
});

test("slices are fetched from the reader outward", () => {
  expect(outward(5, 3)).toEqual([3, 2, 4, 1, 0]);
});
