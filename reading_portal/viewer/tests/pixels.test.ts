import type { Types } from "@cornerstonejs/core";
import { expect, test } from "vitest";
import { ellipse, polygon, rectangle, statistics, valueAt } from "../src/pixels";

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

const counted = image(Array.from({ length: 25 }, (_, i) => i), 5, { preScale: { enabled: true, scaled: true } });

test("an ellipse takes the pixels whose centres lie in it", () => {
  const found = statistics(counted, ellipse([[2, 1], [2, 3], [1, 2], [3, 2]]))!;
  expect(found).toMatchObject({ count: 5, mean: 12, min: 7, max: 17 });
  expect(found.deviation).toBeCloseTo(Math.sqrt((25 + 1 + 0 + 1 + 25) / 5));
});

test("a rectangle takes the pixels on its edges, also when it was drawn towards the upper left", () => {
  const values = [6, 7, 8, 11, 12, 13, 16, 17, 18];
  for (const shape of [rectangle([1, 1], [3, 1], [1, 3]), rectangle([3, 3], [1, 3], [3, 1])]) {
    expect(statistics(counted, shape)).toMatchObject({ count: values.length, mean: 12, min: 6, max: 18 });
  }
});

test("a turned rectangle takes what is in it, not what is in its box", () => {
  expect(statistics(counted, rectangle([2, 1], [3, 2], [1, 2]))!.count).toBe(5);
});

test("a freehand area may be hollow on one side", () => {
  const horseshoe: [number, number][] = [[-0.5, -0.5], [0.5, -0.5], [0.5, 3.5], [3.5, 3.5], [3.5, -0.5], [4.5, -0.5], [4.5, 4.5], [-0.5, 4.5]];
  expect(statistics(counted, polygon(horseshoe))!.count).toBe(13);
});

test("an area beside the image holds no pixel, one over its edge those that there are", () => {
  expect(statistics(counted, rectangle([7, 7], [9, 7], [7, 9]))).toBeUndefined();
  expect(statistics(counted, rectangle([3, 3], [9, 3], [3, 9]))).toMatchObject({ count: 4, max: 24 });
});

test("colour has no mean", () => {
  expect(statistics(image([1, 2, 3], 1, { color: true }), rectangle([0, 0], [1, 0], [0, 1]))).toBeUndefined();
});
