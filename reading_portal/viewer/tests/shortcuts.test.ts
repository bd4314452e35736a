import { beforeAll, describe, expect, test } from "vitest";
import { ACTIONS, ACTION_NAMES, GROUPS, actionOf, titleOf } from "../src/actions";
import { keyOf, printed, type Pressed } from "../src/keyboard";
import { LAYOUTS, cellsOf, layoutFor, nextLayout } from "../src/layouts";
import { Shortcuts, mayBeChosen } from "../src/shortcuts";
import { speak } from "../src/words";

const press = (key: string, more: Partial<Pressed> = {}): Pressed =>
  ({ key, code: "", ctrlKey: false, altKey: false, shiftKey: false, metaKey: false, ...more });

describe("a key is written", () => {
  test("the same whatever CapsLock says, and with Shift only where Shift was held", () => {
    expect([press("l"), press("L"), press("L", { shiftKey: true })].map(keyOf)).toEqual(["L", "L", "Shift+L"]);
  });

  test("as the digit it stands on, and as the sign that it writes", () => {
    expect(keyOf(press("!", { code: "Digit1", shiftKey: true }))).toBe("Shift+1");
    expect(keyOf(press("1", { code: "Numpad1" }))).toBe("1");
    expect(keyOf(press("?", { code: "Slash", shiftKey: true }))).toBe("?");
    expect(keyOf(press("+", { code: "Equal", shiftKey: true }))).toBe("+");
  });

  test("with its modifiers, and not for a modifier alone", () => {
    expect(keyOf(press("ArrowUp", { ctrlKey: true, altKey: true }))).toBe("Ctrl+Alt+ArrowUp");
    expect([press("Shift", { shiftKey: true }), press("l", { metaKey: true }), press("Process")].map(keyOf)).toEqual(["", "", ""]);
  });

  test("as it is printed on the keyboard", () => {
    expect(["Ctrl+ArrowUp", "+", "Escape", "Shift+L"].map(printed)).toEqual(["Ctrl + ↑", "+", "Esc", "Shift + L"]);
  });
});

describe("the table of actions", () => {
  beforeAll(() => speak("en"));

  test("gives every action a key, a name of its own and a group, and no key to two", () => {
    const keys = ACTION_NAMES.flatMap((name) => actionOf(name).keys);
    expect(ACTION_NAMES.filter((name) => !actionOf(name).keys.length)).toEqual([]);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.filter((key) => !mayBeChosen(key))).toEqual([]);
    expect(new Set(ACTION_NAMES.map(titleOf)).size).toBe(ACTION_NAMES.length);
    expect(Object.values(ACTIONS).every(({ group }) => GROUPS.includes(group))).toBe(true);
  });
});

describe("a reader's own key", () => {
  test("stands in the place of the table's, and is taken from the action that had it", () => {
    const keys = new Shortcuts();
    expect(keys.assign("tool_length", "A")).toBe("tool_angle");
    expect(keys.actionOf("A")).toBe("tool_length");
    expect(keys.actionOf("L")).toBeUndefined();
    expect(keys.keysOf("tool_angle")).toEqual([]);
    expect(keys.differences()).toEqual({ tool_length: ["A"], tool_angle: [] });
  });

  test("leaves the other keys of an action that loses one", () => {
    const keys = new Shortcuts();
    keys.assign("tool_length", "ArrowRight");
    expect(keys.keysOf("slice_next")).toEqual(["ArrowDown"]);
  });

  test("that is the table's again is nothing to keep", () => {
    const keys = new Shortcuts({ tool_length: ["D"] });
    expect(keys.assign("tool_length", "L")).toBeUndefined();
    expect(keys.differences()).toEqual({});
  });

  test("is not one that the page or the browser answers to", () => {
    expect(["F2", "Tab", "Ctrl+Enter", "Alt+W"].map(mayBeChosen)).toEqual([false, false, false, false]);
    expect(mayBeChosen("Shift+Q")).toBe(true);
  });
});

describe("layouts", () => {
  test("are the sixteen from 1×1 to 4×4", () => {
    expect(LAYOUTS).toHaveLength(16);
    expect([LAYOUTS[0], LAYOUTS[15], cellsOf("3x4")]).toEqual(["1x1", "4x4", 12]);
  });

  test("grow step by step and begin again", () => {
    const steps = ["1x1"];
    for (let count = 0; count < 6; count += 1) steps.push(nextLayout(steps.at(-1) as "1x1"));
    expect(steps).toEqual(["1x1", "1x2", "2x2", "2x3", "3x3", "4x4", "1x1"]);
    expect(nextLayout("4x1")).toBe("2x3");
  });

  test("hold as many cells as are wanted", () => {
    expect([1, 2, 3, 4, 5, 6, 7, 12, 16].map(layoutFor)).toEqual(["1x1", "1x2", "2x2", "2x2", "2x3", "2x3", "3x3", "3x4", "4x4"]);
  });
});
