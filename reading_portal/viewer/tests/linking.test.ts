import { describe, expect, test } from "vitest";
import type { DisplaySet } from "../src/display_sets";
import type { Point3 } from "../src/geometry";
import { Registrations, areParallel, matchingSlice, placeOf, stackOf, type Stack } from "../src/linking";
import { cs, ds } from "./dicom_json";

const axial = (study: string, frame: string, places: number[], turned = 1): Stack =>
  ({ study, space: `${study}/${frame}`, frameOfReference: frame, normal: [0, 0, turned], centres: places.map((z): Point3 => [3, 4, z]) });
const sagittal = (study: string, frame: string, places: number[]): Stack =>
  ({ study, space: `${study}/${frame}`, frameOfReference: frame, normal: [1, 0, 0], centres: places.map((x): Point3 => [x, 4, 5]) });
const partner = (registrations: Registrations, a: Stack, index: number, b: Stack) => matchingSlice(a, index, b, registrations.between(a, b)!);

describe("stacks", () => {
  const current = axial("now", "a", [0, 5, 10, 15]);

  test("of one frame of reference meet where they lie, to the millimetre", () => {
    const registrations = new Registrations();
    const other = axial("now", "a", [2, 9, 12]);
    expect(registrations.between(current, other)).toEqual({ shift: [0, 0, 0], by: "frame" });
    expect(partner(registrations, current, 2, other)).toEqual({ index: 1, misses: 1 });
  });

  test("of two studies meet where the reader linked them, in both directions, and every other series of them too", () => {
    const registrations = new Registrations();
    const prior = axial("then", "b", [100, 102.5, 105, 107.5, 110]);
    expect(registrations.linkHere(current, 1, prior, 1)).toBe(97.5);
    expect(partner(registrations, current, 2, prior)).toEqual({ index: 3, misses: 0 });
    expect(partner(registrations, prior, 3, current)).toEqual({ index: 2, misses: 0 });
    expect(partner(registrations, axial("now", "a", [6]), 0, axial("then", "b", [103, 104]))).toEqual({ index: 0, misses: 0.5 });
  });

  test("linked in one direction keep that link when they are linked in another", () => {
    const registrations = new Registrations();
    registrations.linkHere(current, 0, axial("then", "b", [100]), 0);
    registrations.linkHere(sagittal("now", "a", [1]), 0, sagittal("then", "b", [-7]), 0);
    expect(registrations.between(current, axial("then", "b", []))).toEqual({ shift: [-8, 0, 100], by: "reader" });
  });

  test("scanned from opposite ends still meet", () => {
    const registrations = new Registrations();
    const reversed = axial("then", "b", [15, 10, 5, 0], -1);
    registrations.linkHere(current, 3, reversed, 0);
    expect(partner(registrations, current, 1, reversed)).toEqual({ index: 2, misses: 0 });
  });

  test("that nobody linked are laid upon each other by guess, which says that it is one", () => {
    const registrations = new Registrations();
    expect(registrations.between(current, axial("then", "b", [2, 8, 14]))).toEqual({ shift: [0, 0, 0], by: "guess" });
    expect(registrations.between(current, axial("then", "b", [1000, 1010]))).toEqual({ shift: [0, 0, 997.5], by: "guess" });
  });

  test("of one study in two frames of reference are not guessed at: the patient has moved", () => {
    expect(new Registrations().between(current, axial("now", "b", [0, 5]))).toBeUndefined();
  });

  test("of different orientation are not linked", () => {
    const across = sagittal("now", "a", [0]);
    expect(areParallel(current, across)).toBe(false);
    expect(matchingSlice(current, 0, across, { shift: [0, 0, 0], by: "frame" })).toBeUndefined();
    expect(new Registrations().linkHere(current, 0, across, 0)).toBeUndefined();
  });
});

test("a slice lies where its middle lies, also when the gantry was tilted", () => {
  const frames = [0, 10].map((z) => ({ imageId: "", renderedUrl: "", number: 1, instance: { sopInstanceUID: "", transferSyntaxUID: "", frames: 1, isLossy: false,
    attributes: { "00200032": ds(0, 0, z), "00200037": ds(1, 0, 0, 0, Math.cos(0.2), Math.sin(0.2)), "00280030": ds(2, 1),
      "00280010": { vr: "US", Value: [101] }, "00280011": { vr: "US", Value: [201] }, "00200052": cs("1.2.3") } } }));
  const stack = stackOf({ studyInstanceUID: "1", seriesInstanceUID: "2", frames } as unknown as DisplaySet)!;
  const [x, y, z] = stack.centres[0]!;
  expect([x, y, z].map((value) => Number(value.toFixed(6)))).toEqual([100, 98.006658, 19.866933]);
  expect(placeOf(stack, 1)! - placeOf(stack, 0)!).toBeCloseTo(10 * Math.cos(0.2), 9);
  expect(stack.space).toBe("1/1.2.3");
});
