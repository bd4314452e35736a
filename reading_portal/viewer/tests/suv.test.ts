import { describe, expect, test } from "vitest";
import type { Attributes } from "../src/attributes";
import { read } from "../src/figures";
import { suvFactor } from "../src/suv";
import { cs, ds, sq } from "./dicom_json";
import type { Types } from "@cornerstonejs/core";

/** 70 kg, 370 MBq of fluorine-18 one hour before the scan. */
const PET = (more: Attributes = {}, given: Attributes = {}): Attributes => ({
  "00080060": cs("PT"), "00541001": cs("BQML"), "00280051": cs("DECY", "ATTN", "SCAT"), "00541102": cs("START"), "00101030": ds(70),
  "00080021": cs("20261128"), "00080031": cs("100000"), "00080022": cs("20261128"), "00080032": cs("100130"),
  "00540016": sq({ "00181074": ds(370e6), "00181075": ds(6586.2), "00181072": cs("090000"), ...given }), ...more });
const AN_HOUR = 70_000 / (370e6 * 2 ** (-3600 / 6586.2));

describe("an SUV by body weight", () => {
  test("is activity over the decayed dose for each gram", () => {
    expect(suvFactor(PET())).toBeCloseTo(AN_HOUR, 12);
  });

  test("takes the injection's own date and time where it has one, and knows midnight where it has none", () => {
    expect(suvFactor(PET({}, { "00181078": cs("20261128090000.00"), "00181072": cs("030000") }))).toBeCloseTo(AN_HOUR, 12);
    const overnight = PET({ "00080031": cs("003000"), "00080032": cs("003100") }, { "00181072": cs("233000") });
    expect(suvFactor(overnight)).toBeCloseTo(AN_HOUR, 12);
  });

  test("needs no decay where the pixels are corrected to the injection", () => {
    expect(suvFactor(PET({ "00541102": cs("ADMIN") }))).toBeCloseTo(70_000 / 370e6, 12);
  });

  test("is what the pixels already are in g/ml by body weight, not by lean mass", () => {
    expect(suvFactor({ "00080060": cs("PT"), "00541001": cs("GML") })).toBe(1);
    expect(suvFactor({ "00080060": cs("PT"), "00541001": cs("GML"), "00541006": cs("LBM") })).toBeUndefined();
  });

  test.each<[string, Attributes]>([
    ["counts", PET({ "00541001": cs("CNTS") })],
    ["no weight", PET({ "00101030": ds() })],
    ["weight zero", PET({ "00101030": ds(0) })],
    ["no decay correction", PET({ "00280051": cs("ATTN") })],
    ["no attenuation correction", PET({ "00280051": cs("DECY") })],
    ["no dose", PET({}, { "00181074": ds() })],
    ["a series time after the acquisition", PET({ "00080031": cs("120000") })],
    ["two injections", PET({ "00540016": sq({ "00181074": ds(1) }, { "00181074": ds(1) }) })],
    ["an injection in another time zone", PET({}, { "00181078": cs("20261128090000+0800") })],
    ["an injection after the scan", PET({}, { "00181078": cs("20261128110000") })],
    ["a CT", { ...PET(), "00080060": cs("CT") }],
  ])("is not said for %s", (_, attributes) => {
    expect(suvFactor(attributes)).toBeUndefined();
  });
});

test("the mean of an area of a PET is said in SUV", () => {
  const image = { columns: 2, rows: 2, color: false, preScale: { enabled: true, scaled: true },
    getPixelData: () => Float32Array.from([1000, 3000, 5000, 7000]) } as unknown as Types.IImage;
  const drawn = read("rectangle", [[0, 0], [1, 0], [0, 1], [1, 1]], { attributes: PET(), frame: 1, image, unit: "BQML" })!;
  const mean = drawn.figures.find(({ quantity }) => quantity === "mean")!;
  expect(mean).toMatchObject({ unit: "SUVbw" });
  expect(mean.value).toBeCloseTo(4000 * AN_HOUR, 9);
});
