import { describe, expect, test } from "vitest";
import { spanBetween } from "../src/ecg/calipers";
import { filtered } from "../src/ecg/filters";
import { correctedQT } from "../src/ecg/intervals";
import { layOut } from "../src/ecg/layouts";
import { leadNames, medianOf, rhythmOf, STANDARD_LEADS, type Group } from "../src/ecg/recording";
import { tracePath } from "../src/ecg/trace";

test("QTc by four formulas, at RR 810 ms and QT 360 ms", () => {
  const corrected = correctedQT(360, 810);
  expect(corrected["Bazett"]).toBeCloseTo(400, 6);
  expect(corrected["Fridericia"]).toBeCloseTo(386.196, 2);
  expect(corrected["Framingham"]).toBeCloseTo(389.26, 2);
  expect(corrected["Hodges"]).toBeCloseTo(384.63, 2);
});

test("calipers read milliseconds, beats per minute and millivolts", () => {
  expect(spanBetween({ x: 10, y: 50 }, { x: 35, y: 35 }, { speed: 25, gain: 10 })).toEqual({ ms: 1000, mv: 1.5, bpm: 60 });
  expect(spanBetween({ x: 35, y: 50 }, { x: 10, y: 60 }, { speed: 50, gain: 20 })).toEqual({ ms: 500, mv: -0.5, bpm: 120 });
});

describe("filters", () => {
  const sine = (hz: number, n = 5000, fs = 500): number[] => Array.from({ length: n }, (_, i) => 1000 * Math.sin((2 * Math.PI * hz * i) / fs));
  const middle = (x: ArrayLike<number>): number => Math.max(...Array.from(x).slice(2000, 3000).map(Math.abs));

  test("the notch takes 50 Hz out and leaves 10 Hz alone", () => {
    const choice = { highPassHz: 0, lowPassHz: 0, notch: true };
    expect(middle(filtered(sine(50), 500, choice))).toBeLessThan(15);
    expect(middle(filtered(sine(10), 500, choice))).toBeGreaterThan(985);
  });

  test("no peak is moved: zero phase", () => {
    const pulse = Array.from({ length: 5000 }, (_, i) => 1000 * Math.exp(-(((i - 2500) / 12) ** 2)));
    const out = filtered(pulse, 500, { highPassHz: 0.5, lowPassHz: 40, notch: true });
    expect(out.indexOf(Math.max(...out))).toBe(2500);
  });

  test("a baseline offset survives a low pass, and a gap stays a gap", () => {
    const out = filtered([500, 500, null, 500, 500, 500], 500, { highPassHz: 0, lowPassHz: 40, notch: false });
    expect(out[2]).toBeNaN();
    expect(out[5]).toBeCloseTo(500, 3);
  });
});

describe("the sheet", () => {
  const paper = { speed: 25, gain: 10, layout: "3x4+1" } as const;

  test("3x4+1 shows each lead for its quarter and lead II throughout", () => {
    const { cells } = layOut(STANDARD_LEADS, 10, paper);
    expect(cells).toHaveLength(13);
    expect(cells.find(({ lead }) => lead === "V1")).toMatchObject({ from: 5, to: 7.5 });
    expect(cells[12]).toMatchObject({ lead: "II", from: 0, to: 10 });
  });

  test("ten seconds are 250 mm wide at 25 mm/s and 500 mm at 50 mm/s", () => {
    const width = (speed: 25 | 50) => layOut(STANDARD_LEADS, 10, { ...paper, speed }).width;
    expect(width(50) - width(25)).toBe(250);
  });

  test("a millivolt is 10 mm high and a second 25 mm long", () => {
    const cell = { lead: "I", x: 10, y: 50, from: 0, to: 2, isFirstInRow: true };
    const samples = Float64Array.from({ length: 1000 }, (_, i) => (i === 500 ? 1000 : 0));
    expect(tracePath(samples, 500, cell, paper)).toContain("L35.00 40.00");
  });

  test("the pen is lifted over a gap", () => {
    const cell = { lead: "I", x: 0, y: 0, from: 0, to: 1, isFirstInRow: true };
    expect(tracePath([0, NaN, 0], 3, cell, paper).match(/M/g)).toHaveLength(2);
  });
});

test("rhythm and median beat are told apart, leads stand in the customary order", () => {
  const group = (label: string, originality: string, names: string[]): Group => ({ label, originality, sampling_frequency: 500, time_offset_ms: 0,
    leads: names.map((name) => ({ name, unit: "mV", calibrated: true, samples_uv: [] })) });
  const recording = { groups: [group("MEDIAN BEAT", "DERIVED", ["I"]), group("RHYTHM", "ORIGINAL", ["V2", "II", "X", "I"])] };
  expect(rhythmOf(recording)?.label).toBe("RHYTHM");
  expect(medianOf(recording)?.label).toBe("MEDIAN BEAT");
  expect(leadNames(recording.groups[1]!)).toEqual(["I", "II", "V2", "X"]);
});
