import { expect, test } from "vitest";
import { displayTable, paint, type FirstFrame } from "../src/display_table";

const frame = (more: Partial<FirstFrame>): FirstFrame => ({ url: "", rows: 1, columns: 1, bits_stored: 12, is_signed: false, is_inverted: false,
  slope: 1, intercept: 0, center: 2048, width: 4096, ...more });

/** PS3.3 C.11.2.1.2.1, as it is written there, for y from 0 to 255. */
function asWritten(x: number, c: number, w: number): number {
  if (x <= c - 0.5 - (w - 1) / 2) return 0;
  if (x > c - 0.5 + (w - 1) / 2) return 255;
  return Math.round(((x - (c - 0.5)) / (w - 1) + 0.5) * 255);
}

/** What Cornerstone makes of a window: a straight line between two ends (its utilities.windowLevel.toLowHighRange). */
function asCornerstone(x: number, c: number, w: number): number {
  const [lower, upper] = [c - 0.5 - (w - 1) / 2, c - 0.5 + (w - 1) / 2];
  return Math.round(Math.min(1, Math.max(0, (x - lower) / (upper - lower))) * 255);
}

const WINDOWS: [string, Partial<FirstFrame>][] = [
  ["unsigned CT, 40/400", { slope: 1, intercept: -1024, center: 40, width: 400 }],
  ["signed CT of 16 bits, lung", { bits_stored: 16, is_signed: true, center: -600, width: 1500 }],
  ["signed of 12 bits", { is_signed: true, center: 50, width: 350 }],
  ["MR with a slope", { bits_stored: 16, slope: 0.25, intercept: 3.5, center: 812.5, width: 1331 }],
  ["narrow", { intercept: -1024, center: 40, width: 2 }],
  ["8 bits", { bits_stored: 8, center: 128, width: 256 }],
];

test.each(WINDOWS)("every stored value is shown as the standard says: %s", (_, more) => {
  const one = frame(more);
  const count = 2 ** one.bits_stored;
  const shown = displayTable(one);
  expect(shown.length).toBe(count);
  let [differing, furthest] = [0, 0];
  for (let bits = 0; bits < count; bits++) {
    const stored = one.is_signed && bits >= count / 2 ? bits - count : bits;
    const value = stored * one.slope + one.intercept;
    const wanted = asWritten(value, one.center, one.width);
    const drawn = asCornerstone(value, one.center, one.width);
    furthest = Math.max(furthest, Math.abs(shown[bits]! - wanted), Math.abs(shown[bits]! - drawn));
    if (shown[bits] !== wanted) differing++;
  }
  // Single and double precision may part where a value falls on the border between two greys, by one grey.
  expect(furthest).toBeLessThanOrEqual(1);
  expect(differing).toBeLessThan(count / 1000 + 1);
});

test("the ends of a window are exactly where the standard puts them", () => {
  const shown = displayTable(frame({ center: 100, width: 101 }));
  expect([...shown.slice(48, 53)]).toEqual([0, 0, 1, 4, 6]);
  expect([...shown.slice(147, 151)]).toEqual([249, 251, 254, 255]);
});

test("a window of width 1 is a threshold", () => {
  const shown = displayTable(frame({ center: 100, width: 1 }));
  expect([...shown.slice(98, 102)]).toEqual([0, 0, 255, 255]);
});

test("MONOCHROME1 is the same turned over", () => {
  const [plain, turned] = [displayTable(frame({ center: 300, width: 512 })), displayTable(frame({ center: 300, width: 512, is_inverted: true }))];
  plain.forEach((level, bits) => expect(Math.abs(255 - level - turned[bits]!)).toBeLessThanOrEqual(1));
  expect([turned[0], turned[4095]]).toEqual([255, 0]);
});

test("bits above the stored ones are not seen, and grey is opaque", () => {
  const one = frame({ columns: 3, center: 128, width: 256, bits_stored: 8 });
  expect([...paint(Uint16Array.of(7, 0xff07, 255), one)]).toEqual([7, 7, 7, 255, 7, 7, 7, 255, 255, 255, 255, 255]);
});
