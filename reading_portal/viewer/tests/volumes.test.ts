import { describe, expect, test } from "vitest";
import type { Attributes } from "../src/attributes";
import type { DisplaySet, Frame } from "../src/display_sets";
import { isVolume, volumeOf } from "../src/volumes";

interface Slice {
  position?: number[];
  cosines?: number[];
  spacing?: number[];
  rows?: number;
  samples?: number;
  frameOfReference?: string;
}

const AXIAL = [1, 0, 0, 0, 1, 0];
const value = (vr: string, ...Value: unknown[]) => ({ vr, Value });

function stack(slices: Slice[]): DisplaySet {
  const frames = slices.map((slice, index) => {
    const { position, cosines = AXIAL, spacing = [0.8, 0.8], rows = 512, samples = 1, frameOfReference = "1.2" } = slice;
    const attributes: Attributes = { "00280010": value("US", rows), "00280011": value("US", 512), "00280002": value("US", samples),
      "00200037": value("DS", ...cosines), "00280030": value("DS", ...spacing), "00200052": value("UI", frameOfReference),
      ...(position && { "00200032": value("DS", ...position) }) };
    return { imageId: `image:${index}`, number: 1, renderedUrl: "", instance: { sopInstanceUID: String(index), attributes,
      transferSyntaxUID: "", frames: 1, isLossy: false } } satisfies Frame;
  });
  return { frames } as unknown as DisplaySet;
}

const straight = (count: number, change: (index: number) => Slice = () => ({})): DisplaySet =>
  stack(Array.from({ length: count }, (_, index) => ({ position: [-150, -150, 5 * index], ...change(index) })));

function whyNot(set: DisplaySet): string {
  const answer = volumeOf(set);
  return isVolume(answer) ? "a volume" : [answer.why, ...answer.values].join(" ");
}

describe("a stack is a volume", () => {
  test("where its slices lie at equal distances, in whatever order they came", () => {
    const answer = volumeOf(straight(6, (index) => ({ position: [-150, -150, 5 * [3, 0, 5, 1, 4, 2][index]!] })));

    expect(isVolume(answer) && answer.frames.map(({ imageId }) => imageId)).toEqual([1, 3, 5, 0, 4, 2].map((at) => `image:${at}`));
    expect(isVolume(answer) && answer.step).toBeCloseTo(5);
  });

  test("where positions are rounded to hundredths, as scanners do", () => {
    expect(whyNot(straight(100, (index) => ({ position: [0, 0, Number((index * 0.625).toFixed(2))] })))).toBe("a volume");
  });

  test("where it is cut obliquely but lies straight behind one another", () => {
    const [c, s] = [Math.cos(0.5), Math.sin(0.5)];
    expect(whyNot(straight(8, (index) => ({ cosines: [1, 0, 0, 0, c, s], position: [0, -s * 3 * index, c * 3 * index] })))).toBe("a volume");
  });
});

describe("a stack is no volume", () => {
  test("with a gap, and the sentence says the distances", () => {
    expect(whyNot(straight(8, (index) => ({ position: [0, 0, 5 * index + (index > 4 ? 5 : 0)] })))).toBe("volume_steps 5.00 10.00");
  });

  test("with a tilted gantry, and the sentence says by how much", () => {
    const shear = Math.tan(15 * Math.PI / 180);
    expect(whyNot(straight(20, (index) => ({ position: [0, shear * 5 * index, 5 * index] })))).toBe("volume_tilt 15.0");
  });

  test("with two phases in one place", () => {
    expect(whyNot(straight(10, (index) => ({ position: [0, 0, 5 * (index >> 1)] })))).toBe("volume_same_place");
  });

  test("with a localiser among its slices", () => {
    expect(whyNot(straight(8, (index) => (index ? {} : { cosines: [0, 1, 0, 0, 0, -1] })))).toBe("volume_directions");
  });

  test.each<[string, Partial<Slice>, string]>([
    ["without places", { position: undefined }, "volume_no_place"],
    ["with another matrix", { rows: 256 }, "volume_sizes"],
    ["with another pixel spacing", { spacing: [0.7, 0.7] }, "volume_sizes"],
    ["of two frames of reference", { frameOfReference: "1.3" }, "volume_two_frames"],
    ["in colour", { samples: 3 }, "volume_colour"],
  ])("%s", (_, change, why) => {
    expect(whyNot(straight(8, (index) => (index === 3 ? change : {})))).toBe(why);
  });

  test("of four slices", () => {
    expect(whyNot(straight(4))).toBe("volume_few 5");
  });
});
