import { describe, expect, test } from "vitest";
import { regionOf } from "../src/body_parts";
import { frameDuration, framesPerSecond } from "../src/cine";
import type { DisplaySet } from "../src/display_sets";
import { presetsFor } from "../src/presets";
import { ds } from "./dicom_json";

describe("regions of the body", () => {
  test("are known by the words of devices and of technicians", () => {
    expect(["CHEST", "胸部", "CSPINE", "颈椎", "颈部", "LUMBAR SPINE", "腰椎", "KNEE", "左腕关节", "HEAD", "ABDOMEN"].map((name) => regionOf(name)))
      .toEqual(["chest", "chest", "spine", "spine", "neck", "spine", "spine", "leg", "arm", "head", "abdomen"]);
    expect([regionOf(""), regionOf("", "头颅平扫"), regionOf("WHOLEBODY")]).toEqual([undefined, "head", undefined]);
  });
});

describe("presets", () => {
  test("are nine at most; on every CT the first four are the same, the others are the region's", () => {
    const names = (part: string) => presetsFor("CT", part).map(({ name }) => name);
    const parts = ["", "HEAD", "NECK", "CHEST", "ABDOMEN", "PELVIS", "SPINE", "WRIST", "KNEE"];
    for (const part of parts) {
      expect(names(part).slice(0, 4)).toEqual(["preset_soft_tissue", "preset_lung", "preset_bone", "preset_brain"]);
      expect(names(part).length).toBeLessThanOrEqual(9);
      expect(new Set(names(part)).size).toBe(names(part).length);
    }
    expect(names("HEAD")[4]).toBe("preset_stroke");
    expect(names("CHEST")[4]).toBe("preset_mediastinum");
    expect(names("ABDOMEN")[4]).toBe("preset_liver");
  });

  test("of radiographs look for bone in limbs, for lung in chests, for calcifications in mammograms", () => {
    expect(presetsFor("DX", "KNEE").map(({ name }) => name)).toContain("preset_bone");
    expect(presetsFor("CR", "CHEST").map(({ name }) => name)).toContain("preset_lung");
    expect(presetsFor("MG").map(({ name }) => name)).toContain("preset_calcification");
    expect(presetsFor("MR", "KNEE")).toHaveLength(5);
  });
});

describe("a clip", () => {
  const clip = (attributes: object, frames: number): DisplaySet => ({ frames: Array.from({ length: frames }, (_, index) =>
    ({ imageId: "", renderedUrl: "", number: index + 1, instance: { attributes, frames } })) }) as unknown as DisplaySet;

  test("plays by its frame time", () => {
    expect(frameDuration(clip({ "00181063": ds(40) }, 3), 1)).toBe(40);
    expect(framesPerSecond(clip({ "00181063": ds(40) }, 3))).toBe(25);
  });

  test("stays on each frame as long as its vector of times says", () => {
    const uneven = clip({ "00181065": ds(0, 50, 200) }, 3);
    expect([0, 1].map((index) => frameDuration(uneven, index))).toEqual([50, 200]);
    expect(frameDuration(uneven, 2)).toBe(125);
  });
});
