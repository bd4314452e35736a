import type { Types } from "@cornerstonejs/core";
import { describe, expect, test } from "vitest";
import { linesOf } from "../src/figure_words";
import { ordered, read, type Ground, type Quantity, type Reading } from "../src/figures";
import { History } from "../src/history";
import { speak } from "../src/words";
import { CT, DX, cs, ds } from "./dicom_json";

const image = { columns: 8, rows: 8, color: false, preScale: { enabled: true, scaled: true },
  getPixelData: () => Int16Array.from({ length: 64 }, (_, i) => i) } as unknown as Types.IImage;
const ground = (more: Partial<Ground> = {}): Ground =>
  ({ attributes: { "00080016": cs(CT), "00280030": ds(0.5, 2) }, frame: 1, image, unit: "HU", ...more });
const value = (reading: Reading | undefined, quantity: Quantity): number => reading!.figures.find((one) => one.quantity === quantity)!.value;

describe("on oblong pixels", () => {
  test("a right angle of the pixels' diagonal is what it is in millimetres", () => {
    expect(value(read("angle", [[1, 0], [0, 0], [1, 4]], ground()), "angle")).toBeCloseTo(45);
  });

  test("the areas of a rectangle, an ellipse and a freehand line are square millimetres", () => {
    const corners: [number, number][] = [[1, 1], [4, 1], [1, 5], [4, 5]];
    expect(value(read("rectangle", corners, ground()), "area")).toBeCloseTo(6 * 2);
    expect(value(read("ellipse", [[3, 1], [3, 5], [1, 3], [5, 3]], ground()), "area")).toBeCloseTo(Math.PI * 1 * 4);
    expect(value(read("freehand", [[0, 0], [4, 0], [4, 4]], ground()), "area")).toBeCloseTo(8 * 2 / 2);
  });

  test("of two diameters the longer is the long one, whichever was drawn first", () => {
    const drawn = read("bidirectional", [[0, 0], [0, 6], [0, 3], [4, 3]], ground());
    expect([value(drawn, "long_axis"), value(drawn, "short_axis")]).toEqual([8, 3]);
    expect(ordered("bidirectional", [[0, 0], [0, 6], [0, 3], [4, 3]], ground())).toEqual([[0, 3], [4, 3], [0, 0], [0, 6]]);
  });
});

describe("a Cobb angle", () => {
  const square = ground({ attributes: { "00080016": cs(DX), "00280030": ds(1, 1) } });
  const line = (degrees: number): [number, number][] => {
    const [x, y] = [Math.cos(degrees * Math.PI / 180) * 10, Math.sin(degrees * Math.PI / 180) * 10];
    return [[50 - x, 50 - y], [50 + x, 50 + y]];
  };

  test.each([[20, -15, 35], [-40, 12, 52], [55, -48, 103]])("of end plates at %s° and %s° is %s°", (upper, lower, cobb) => {
    expect(value(read("cobb", [...line(upper), ...line(lower)], square), "angle")).toBeCloseTo(cobb);
  });

  test("does not depend on the side from which an end plate was drawn", () => {
    const [a, b] = line(20);
    expect(value(read("cobb", [b!, a!, ...line(-15)], square), "angle")).toBeCloseTo(35);
  });
});

test("a reading says its figures, and the least and greatest in one line", () => {
  speak("en");
  const drawn = read("rectangle", [[1, 1], [3, 1], [1, 3], [3, 3]], ground())!;
  expect(linesOf(drawn)).toEqual(["Area 4.0 mm²", "Mean 18.0 HU", "SD 6.6", "Range 9 … 27"]);
});

test("without its pixels an area is still an area, and nothing else is said", () => {
  expect(read("rectangle", [[1, 1], [3, 1], [1, 3], [3, 3]], ground({ image: undefined }))!.figures.map(({ quantity }) => quantity)).toEqual(["area"]);
});

test("a measurement that is not drawn to its end says nothing", () => {
  expect(read("cobb", [[0, 0], [1, 1], [2, 2]], ground())).toBeUndefined();
});

test("what was undone can be redone until something new is done", () => {
  const history = new History<string>();
  history.push("a");
  history.push("b");
  expect([history.undo(), history.redo(), history.undo(), history.undo(), history.undo()]).toEqual(["b", "b", "b", "a", undefined]);
  history.push("c");
  expect([history.canRedo, history.undo()]).toEqual([false, "c"]);
});
