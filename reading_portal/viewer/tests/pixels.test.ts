import type { Types } from "@cornerstonejs/core";
import { expect, test } from "vitest";
import { ellipseStatistics, valueAt } from "../src/pixels";

const image = (pixels: number[], columns: number, more = {}): Types.IImage => ({ columns, rows: pixels.length / columns, color: false, slope: 2,
  intercept: -1000, getPixelData: () => Int16Array.from(pixels), ...more }) as unknown as Types.IImage;

test("a stored value becomes HU exactly once", () => {
  const pixels = [500, 510, 520, 530];
  expect(valueAt(image(pixels, 2), [1, 1])).toBe(60);
  expect(valueAt(image(pixels, 2, { preScale: { enabled: true, scaled: true } }), [1, 1])).toBe(530);
});

test("outside the image there is no value", () => {
  expect(valueAt(image([1, 2, 3, 4], 2), [2, 0])).toBeUndefined();
});

test("an ellipse takes the pixels whose centres lie in it", () => {
  const scaled = { preScale: { enabled: true, scaled: true } };
  const found = ellipseStatistics(image(Array.from({ length: 25 }, (_, i) => i), 5, scaled), [2, 2], [1, 1], 0)!;
  expect(found).toMatchObject({ count: 5, mean: 12, min: 7, max: 17 });
  expect(found.deviation).toBeCloseTo(Math.sqrt((25 + 1 + 0 + 1 + 25) / 5));
});
