/** All that a key can do over the images: one table of names, words and the keys that each has to begin with. */
import type { IconName } from "./icons";
import { word, type WordKey } from "./words";

export interface Action {
  word: WordKey;
  /** What `{0}` in the word stands for. */
  value?: string;
  /** As `keyOf` says them; a reader's own keys stand in their place (shortcuts.ts). */
  keys: string[];
  group: Group;
  /** With an icon it is a button of the toolbar too. */
  icon?: IconName;
}

export const GROUPS = ["group_slices", "group_tools", "group_measuring", "group_window", "group_picture", "group_screen", "group_layouts",
  "group_comparing", "group_page"] as const;
export type Group = (typeof GROUPS)[number];

const act = (group: Group, word: WordKey, keys: string, icon?: IconName, value?: string): Action =>
  ({ word, keys: keys.split(" "), group, ...(icon && { icon }), ...(value && { value }) });
const layout = (name: string, key: string): Action => act("group_layouts", "action_layout_n", key, undefined, name.replace("x", " × "));
const preset = (number: number): Action => act("group_window", "action_preset_n", String(number), undefined, String(number));

export const ACTIONS = {
  slice_next: act("group_slices", "action_slice_next", "ArrowDown ArrowRight"),
  slice_previous: act("group_slices", "action_slice_previous", "ArrowUp ArrowLeft"),
  page_next: act("group_slices", "action_page_next", "PageDown"),
  page_previous: act("group_slices", "action_page_previous", "PageUp"),
  slice_first: act("group_slices", "action_slice_first", "Home"),
  slice_last: act("group_slices", "action_slice_last", "End"),
  series_next: act("group_slices", "action_next_series", "]"),
  series_previous: act("group_slices", "action_previous_series", "["),
  cine: act("group_slices", "action_cine", "Space", "cine"),
  cine_faster: act("group_slices", "action_cine_faster", "."),
  cine_slower: act("group_slices", "action_cine_slower", ","),

  tool_window: act("group_tools", "tool_window", "W", "window"),
  tool_zoom: act("group_tools", "tool_zoom", "Z", "zoom"),
  tool_pan: act("group_tools", "tool_pan", "T", "pan"),
  tool_scroll: act("group_tools", "tool_scroll", "S", "scroll"),
  tool_magnify: act("group_tools", "tool_magnify", "M", "magnify"),

  tool_length: act("group_measuring", "tool_length", "L", "length"),
  tool_bidirectional: act("group_measuring", "tool_bidirectional", "D", "bidirectional"),
  tool_angle: act("group_measuring", "tool_angle", "A", "angle"),
  tool_cobb: act("group_measuring", "tool_cobb", "C", "cobb"),
  tool_rectangle: act("group_measuring", "tool_rectangle", "X", "rectangle"),
  tool_ellipse: act("group_measuring", "tool_ellipse", "E", "ellipse"),
  tool_freehand: act("group_measuring", "tool_freehand", "Q", "freehand"),
  tool_probe: act("group_measuring", "tool_probe", "P", "probe"),
  undo: act("group_measuring", "action_undo", "Ctrl+Z", "undo"),
  redo: act("group_measuring", "action_redo", "Ctrl+Y Ctrl+Shift+Z", "redo"),
  export_measurements: act("group_measuring", "action_export_measurements", "Shift+X"),
  delete_measurement: act("group_measuring", "action_delete", "Delete", "bin"),

  preset_1: preset(1),
  preset_2: preset(2),
  preset_3: preset(3),
  preset_4: preset(4),
  preset_5: preset(5),
  preset_6: preset(6),
  preset_7: preset(7),
  preset_8: preset(8),
  preset_9: preset(9),

  invert: act("group_picture", "action_invert", "I", "invert"),
  rotate: act("group_picture", "action_rotate", "R", "rotate"),
  rotate_back: act("group_picture", "action_rotate_back", "Shift+R"),
  flip: act("group_picture", "action_flip", "H", "flip"),
  flip_vertical: act("group_picture", "action_flip_vertical", "Shift+H", "flip_vertical"),
  zoom_in: act("group_picture", "action_zoom_in", "+ ="),
  zoom_out: act("group_picture", "action_zoom_out", "-"),
  one_to_one: act("group_picture", "action_one_to_one", "O", "one_to_one"),
  reset: act("group_picture", "action_reset", "0", "reset"),

  full: act("group_screen", "action_full", "F", "full"),
  viewport_next: act("group_screen", "action_viewport", "V"),
  viewport_previous: act("group_screen", "action_viewport_previous", "Shift+V"),
  mpr: act("group_screen", "action_mpr", "Shift+M", "mpr"),
  slab_next: act("group_screen", "action_slab_next", "Shift+S"),
  key_image: act("group_screen", "key_image", "K", "key"),

  layout_next: act("group_layouts", "action_layout_next", "G"),
  layout_pick: act("group_layouts", "action_layout", "Shift+G", "layout"),
  layout_1x1: layout("1x1", "Shift+1"),
  layout_1x2: layout("1x2", "Shift+2"),
  layout_1x3: layout("1x3", "Shift+3"),
  layout_2x2: layout("2x2", "Shift+4"),
  layout_2x1: layout("2x1", "Shift+5"),
  layout_2x3: layout("2x3", "Shift+6"),
  layout_2x4: layout("2x4", "Shift+8"),
  layout_3x3: layout("3x3", "Shift+9"),
  layout_4x4: layout("4x4", "Shift+0"),

  hang_again: act("group_comparing", "action_hang_again", "N"),
  hangings: act("group_comparing", "action_hangings", "Shift+N", "hangings"),
  prior: act("group_comparing", "action_prior", "B", "prior"),
  reference_lines: act("group_comparing", "action_reference_lines", "Shift+L"),
  link_here: act("group_comparing", "link_here", "Y", "link"),
  links: act("group_comparing", "action_links", "Shift+Y"),

  help: act("group_page", "action_help", "?", "help"),
  back: act("group_page", "action_back", "Escape"),
} satisfies Record<string, Action>;

export type ActionName = keyof typeof ACTIONS;
export const ACTION_NAMES = Object.keys(ACTIONS) as ActionName[];

export const actionOf = (name: ActionName): Action => ACTIONS[name];

/** What the action is called, in the language of the page. */
export function titleOf(name: ActionName): string {
  const action = actionOf(name);
  return word(action.word, ...(action.value ? [action.value] : []));
}
