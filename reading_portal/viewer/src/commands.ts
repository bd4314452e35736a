/** What each action does, and which of them are on. */
import { ACTION_NAMES, titleOf, type ActionName } from "./actions";
import type { HangingPanel } from "./hanging_panel";
import type { Help } from "./help";
import { returnToText } from "./keyboard";
import type { LayoutPicker } from "./layout_picker";
import type { Layout } from "./layouts";
import type { ToolBox, ToolName } from "./tools";
import type { Viewer } from "./viewer";
import { word } from "./words";

export type Commands = Record<ActionName, () => void>;

export interface Panels {
  section: HTMLElement;
  help: Help;
  layouts: LayoutPicker;
  hangings: HangingPanel;
}

export function commandsFor(viewer: Viewer, tools: ToolBox, { section, help, layouts, hangings }: Panels): Commands {
  const { grid } = viewer;
  const scroll = (delta: number) => () => grid.active.scroll(delta);
  const commands = {
    slice_next: scroll(1), slice_previous: scroll(-1), page_next: scroll(10), page_previous: scroll(-10),
    slice_first: () => grid.active.scrollTo(0),
    slice_last: () => grid.active.scrollTo((grid.active.displaySet?.frames.length ?? 1) - 1),
    series_next: () => viewer.stepSeries(1), series_previous: () => viewer.stepSeries(-1),
    cine: () => viewer.cine.toggle(grid.active),
    cine_faster: () => viewer.changeCineSpeed(1.25), cine_slower: () => viewer.changeCineSpeed(0.8),
    undo: () => viewer.measurements.undo(), redo: () => viewer.measurements.redo(),
    export_measurements: () => void viewer.measurements.exportOwn(viewer.grid.active),
    delete_measurement: () => viewer.measurements.discard(),
    invert: () => grid.active.invert(),
    rotate: () => grid.active.rotate(90), rotate_back: () => grid.active.rotate(-90),
    flip: () => grid.active.flip(), flip_vertical: () => grid.active.flipVertically(),
    zoom_in: () => grid.active.zoomBy(1.25), zoom_out: () => grid.active.zoomBy(0.8),
    one_to_one: () => grid.active.showOneToOne(), reset: () => grid.active.reset(),
    full: () => grid.toggleFull(),
    mpr: () => void viewer.togglePlanes(),
    slab_next: () => void viewer.togglePlanes(),
    viewport_next: () => grid.activateNext(1), viewport_previous: () => grid.activateNext(-1),
    key_image: () => viewer.markKeyImage(),
    layout_next: () => viewer.nextLayout(), layout_pick: () => layouts.toggle(),
    reference_lines: () => viewer.toggleReferenceLines(),
    hang_again: () => void viewer.hangAgain(), hangings: () => hangings.toggle(), links: () => viewer.toggleLinks(),
    prior: () => void viewer.toggleNearestPrior(), link_here: () => viewer.linkHere(),
    help: () => help.toggle(),
    back: () => {
      if (help.isOpen) help.close();
      else if (grid.isFull) grid.toggleFull();
      else if (section.contains(document.activeElement)) returnToText();
    },
  };
  const overSlices = Object.fromEntries(ACTION_NAMES.map((name) =>
    [name, (commands as Partial<Commands>)[name] ?? numbered(name, viewer, tools)])) as Commands;
  const overPlanes = commandsOverPlanes(viewer, help, overSlices);
  return Object.fromEntries(ACTION_NAMES.map((name) =>
    [name, () => (viewer.planes?.isOpen ? overPlanes : overSlices)[name]()])) as Commands;
}

/** What the actions do while planes lie over the slices: the same, as far as a plane can, or a sentence. */
function commandsOverPlanes(viewer: Viewer, help: Help, overSlices: Commands): Commands {
  const scroll = (delta: number) => () => viewer.planes?.scroll(delta);
  const own: Partial<Commands> = {
    slice_next: scroll(1), slice_previous: scroll(-1), page_next: scroll(10), page_previous: scroll(-10),
    reset: () => viewer.planes?.reset(), slab_next: () => viewer.planes?.nextSlab(),
    back: () => { if (help.isOpen) overSlices.back(); else viewer.planes?.close(); },
  };
  const isShared = (name: ActionName): boolean => name === "mpr" || name === "help" || name.startsWith("preset_");
  return Object.fromEntries(ACTION_NAMES.map((name) => [name, own[name] ?? (isShared(name) ? overSlices[name]
    : () => viewer.say(word("not_in_planes", titleOf(name))))])) as Commands;
}

/** Families of actions, whose name says which one of them is meant: a tool, a preset, a layout. */
function numbered(name: ActionName, viewer: Viewer, tools: ToolBox): () => void {
  const which = name.slice(name.indexOf("_") + 1);
  if (name.startsWith("preset_")) return () => viewer.preset(Number(which));
  if (name.startsWith("layout_")) return () => viewer.setLayout(which as Layout);
  if (name.startsWith("tool_")) return () => tools.pick(tools.active === which ? "window" : which as ToolName);
  throw new Error(`nothing does ${name}`);
}

export function isOn(name: ActionName, viewer: Viewer, tools: ToolBox): boolean | undefined {
  if (name.startsWith("tool_")) return tools.active === name.slice("tool_".length);
  if (name === "cine") return viewer.cine.isPlaying(viewer.grid.active);
  if (name === "full") return viewer.grid.isFull;
  if (name === "mpr") return viewer.planes?.isOpen ?? false;
  return undefined;
}
