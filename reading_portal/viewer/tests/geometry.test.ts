import { describe, expect, test } from "vitest";
import { angleAt, nearestIndex, pixelToWorld, worldToPixel, type Plane } from "../src/geometry";
import { areParallel, matchingSlice, offsetBetween, type Stack } from "../src/linking";
import { edgesOf, lettersOf, oppositeOf } from "../src/orientation";

const oblong: Plane = { imagePositionPatient: [-100, 20, 5], rowCosines: [0, 1, 0], columnCosines: [0, 0, -1], rowPixelSpacing: 0.5,
  columnPixelSpacing: 2 };

describe("pixels and world", () => {
  test("agree on oblong pixels, rows and columns not confused", () => {
    expect(pixelToWorld(oblong, [3, 4])).toEqual([-100, 26, 3]);
    expect(worldToPixel(oblong, [-100, 26, 3])).toEqual([3, 4]);
  });

  test("an angle is between 0 and 180 degrees", () => {
    expect(angleAt([0, 1], [0, 0], [1, 0])).toBeCloseTo(90);
    expect(angleAt([-1, 0.001], [0, 0], [-1, -0.001])).toBeCloseTo(0.1146, 3);
  });

  test("the nearest position skips slices without one", () => {
    expect(nearestIndex([0, undefined, 10], 6)).toBe(2);
    expect(nearestIndex([undefined], 6)).toBe(-1);
  });
});

describe("letters at the edges", () => {
  test("follow an axial slice", () => {
    expect(edgesOf([lettersOf([1, 0, 0]), lettersOf([0, 1, 0])], [[1, 0], [0, 1]])).toEqual({ left: "R", right: "L", top: "A", bottom: "P" });
  });

  test("change sides when the image is mirrored and turned", () => {
    expect(edgesOf(["L", "P"], [[-1, 0], [0, 1]])).toMatchObject({ left: "L", right: "R", top: "A" });
    expect(edgesOf(["L", "P"], [[0, 1], [-1, 0]])).toEqual({ left: "P", right: "A", top: "R", bottom: "L" });
  });

  test("say the oblique direction, strongest first", () => {
    expect(lettersOf([0.8, 0, 0.6])).toBe("LH");
    expect(oppositeOf("HL")).toBe("FR");
  });

  test("stay empty where nobody knows", () => {
    expect(edgesOf(["", ""], [[1, 0], [0, 1]])).toEqual({ left: "", right: "", top: "", bottom: "" });
  });
});

describe("linked stacks", () => {
  const stack = (frameOfReference: string, positions: number[], flip = 1): Stack => ({ frameOfReference, normal: [0, 0, flip], along: positions });
  const current = stack("a", [0, 5, 10, 15]);

  test("of one frame of reference need no offset", () => {
    expect(offsetBetween(current, 0, stack("a", [2, 12]), 1)).toBe(0);
  });

  test("of two studies meet where the reader linked them", () => {
    const prior = stack("b", [100, 102.5, 105, 107.5, 110]);
    const offset = offsetBetween(current, 1, prior, 1)!;
    expect(offset).toBe(97.5);
    expect(matchingSlice(current, 2, prior, offset)).toBe(3);
  });

  test("scanned from opposite ends still meet", () => {
    const reversed = stack("b", [-15, -10, -5, 0], -1);
    const offset = offsetBetween(current, 3, reversed, 0)!;
    expect(matchingSlice(current, 1, reversed, offset)).toBe(2);
  });

  test("of different orientation are not linked", () => {
    const sagittal: Stack = { frameOfReference: "a", normal: [1, 0, 0], along: [0] };
    expect(areParallel(current, sagittal)).toBe(false);
    expect(offsetBetween(current, 0, sagittal, 0)).toBeUndefined();
  });
});
