import { describe, expect, test } from "vitest";
import { angleAt, nearestIndex, pixelToWorld, worldToPixel, type Plane } from "../src/geometry";
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
