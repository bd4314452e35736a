import { expect, test } from "vitest";
import { crossingOf, type Picture } from "../src/reference_lines";

const axial = (z: number): Picture => ({ imagePositionPatient: [-100, -80, z], rowCosines: [1, 0, 0], columnCosines: [0, 1, 0],
  rowPixelSpacing: 1, columnPixelSpacing: 2, rows: 160, columns: 100 });
/** Seen from the left: columns run to the back, rows to the feet. */
const sagittal = (x: number): Picture => ({ imagePositionPatient: [x, -128, 50], rowCosines: [0, 1, 0], columnCosines: [0, 0, -1],
  rowPixelSpacing: 1, columnPixelSpacing: 1, rows: 256, columns: 256 });

test("an axial slice lies on a localiser as a line from its front edge to its back edge, at its height", () => {
  const ends = crossingOf(axial(-30), sagittal(0))!;

  expect(ends.map(([x, , z]) => [x, z])).toEqual([[0, -30], [0, -30]]);
  expect(ends.map(([, y]) => y).sort((a, b) => a - b)).toEqual([-80.5, 79.5]);
});

test("a slice that does not reach the other's plane leaves no line", () => {
  expect(crossingOf(axial(0), sagittal(150))).toBeUndefined();
});

test("parallel slices cut nowhere, also where rounding says they nearly do", () => {
  const tilted = { ...axial(10), columnCosines: [0, Math.cos(0.01), Math.sin(0.01)] };
  expect(crossingOf(axial(0), tilted)).toBeUndefined();
});
