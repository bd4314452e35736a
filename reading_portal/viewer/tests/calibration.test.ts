import { describe, expect, test } from "vitest";
import { isIsotropic, lengthOf, scaleAt } from "../src/calibration";
import { linesOf } from "../src/figure_words";
import { read } from "../src/figures";
import { CT, DX, US, cs, ds, sq } from "./dicom_json";

describe("a length", () => {
  test("is in millimetres of PixelSpacing, rows first, on a CT", () => {
    const scale = scaleAt({ "00080016": cs(CT), "00280030": ds(0.5, 2) }, 1, []);
    expect(scale.source).toBe("pixel_spacing");
    expect(lengthOf(scale, [0, 0], [10, 0])).toBeCloseTo(20);
    expect(lengthOf(scale, [0, 0], [0, 10])).toBeCloseTo(5);
  });

  test("is in pixels without any spacing, never in millimetres", () => {
    const found = read("length", [[0, 0], [3, 4]], { attributes: { "00080016": cs(CT) }, frame: 1, image: undefined, unit: "" })!;
    expect(found.calibration).toBe("none");
    expect(linesOf(found)).toEqual(["5.0 px"]);
  });

  test("counts columns' widths where pixels are oblong and nobody says how large, so that angles are what they are", () => {
    const oblong = { "00080016": cs(DX), "00280034": { vr: "IS", Value: ["2", "1"] } };
    const scale = scaleAt(oblong, 1, []);
    expect([scale.source, scale.columnUnit, lengthOf(scale, [0, 0], [0, 3]), lengthOf(scale, [0, 0], [3, 0])]).toEqual(["none", "px", 6, 3]);
    const angle = read("angle", [[2, 0], [0, 0], [2, 1]], { attributes: oblong, frame: 1, image: undefined, unit: "" })!;
    expect(angle.figures[0]!.value).toBeCloseTo(45);
    expect(scaleAt({ "00280034": { vr: "IS", Value: ["0", "1"] } }, 1, []).perRow).toBe(1);
  });

  test("is in pixels when the spacing is zero", () => {
    expect(scaleAt({ "00080016": cs(CT), "00280030": ds(0, 0) }, 1, []).columnUnit).toBe("px");
  });

  test("is marked as magnified when a radiograph only knows its detector", () => {
    const scale = scaleAt({ "00080016": cs(DX), "00181164": ds(0.1, 0.1) }, 1, []);
    expect(scale.source).toBe("detector");
  });

  test("is corrected by the radiographic magnification where the file states it", () => {
    const scale = scaleAt({ "00080016": cs(DX), "00181164": ds(0.2, 0.2), "00181114": ds(1.25) }, 1, []);
    expect(scale.source).toBe("magnification");
    expect(scale.perRow).toBeCloseTo(0.16);
  });

  test("is still of the detector when PixelSpacing repeats the detector's", () => {
    expect(scaleAt({ "00080016": cs(DX), "00181164": ds(0.1, 0.1), "00280030": ds(0.1, 0.1) }, 1, []).source).toBe("detector");
  });

  test("is fiducial where the technician calibrated it", () => {
    const scale = scaleAt({ "00080016": cs(DX), "00181164": ds(0.1, 0.1), "00280030": ds(0.09, 0.09), "00280A02": cs("FIDUCIAL") }, 1, []);
    expect([scale.source, scale.perColumn]).toEqual(["fiducial", 0.09]);
  });

  test("of an enhanced object comes from its functional groups, the frame's own first", () => {
    const group = (spacing: number) => sq({ "00289110": sq({ "00280030": ds(spacing, spacing) }) });
    const shared = { "00080016": cs(CT), "52009229": group(0.5) };
    expect(scaleAt(shared, 2, []).perRow).toBe(0.5);
    const perFrame = { ...shared, "52009230": { vr: "SQ", Value: [{}, (group(0.25).Value as object[])[0]] } };
    expect(scaleAt(perFrame, 1, []).perRow).toBe(0.5);
    expect(scaleAt(perFrame, 2, []).perRow).toBe(0.25);
  });
});

describe("an ultrasound region", () => {
  const region = (units: [number, number], deltas: [number, number], box: [number, number, number, number]) => ({
    "00186024": ds(units[0]), "00186026": ds(units[1]), "0018602C": ds(deltas[0]), "0018602E": ds(deltas[1]),
    "00186018": ds(box[0]), "0018601A": ds(box[1]), "0018601C": ds(box[2]), "0018601E": ds(box[3]),
  });
  const attributes = { "00080016": cs(US), "00280030": ds(9, 9),
    "00186011": sq(region([3, 3], [0.02, 0.02], [0, 0, 99, 99]), region([4, 7], [0.005, -0.5], [0, 100, 99, 199])) };

  test("measures centimetres as millimetres", () => {
    const scale = scaleAt(attributes, 1, [[10, 10], [60, 10]]);
    expect(scale.source).toBe("region");
    expect(lengthOf(scale, [10, 10], [60, 10])).toBeCloseTo(10);
  });

  test("of a Doppler trace gives time and speed apart", () => {
    const scale = scaleAt(attributes, 1, [[10, 110], [50, 130]]);
    expect(isIsotropic(scale)).toBe(false);
    const found = read("length", [[10, 110], [50, 130]], { attributes, frame: 1, image: undefined, unit: "" })!;
    expect(linesOf(found)).toEqual(["Δx 200.0 ms", "Δy 10.0 cm/s"]);
  });

  test("does not lend its scale to a line that leaves it", () => {
    const scale = scaleAt(attributes, 1, [[10, 10], [10, 150]]);
    expect([scale.source, scale.columnUnit]).toEqual(["outside_region", "px"]);
  });
});
