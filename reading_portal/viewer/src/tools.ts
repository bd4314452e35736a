/** The mouse's and finger's tools: one tool group for all viewports. */
import { Enums, LengthTool, MagnifyTool, PanTool, StackScrollTool, ToolGroupManager, WindowLevelTool, ZoomTool, addTool, annotation,
  type Types } from "@cornerstonejs/tools";
import { ENGINE } from "./cornerstone";
import { DRAWING_TOOLS } from "./drawing_tools";
import type { Kind } from "./figures";
import { linesFor } from "./measurements";
import type { WordKey } from "./words";

export type ToolName = "window" | "zoom" | "pan" | "scroll" | "magnify" | Kind;

interface ToolRow {
  tool: typeof WindowLevelTool | typeof LengthTool | typeof ZoomTool;
  word: WordKey;
  isMeasurement?: boolean;
  configuration?: object;
}

/** `as` because Cornerstone's tool classes share no constructable type. */
const row = (tool: unknown, word: WordKey, configuration?: object, isMeasurement?: boolean): ToolRow =>
  ({ tool: tool as ToolRow["tool"], word, configuration, isMeasurement });

const measuring = (kind: Kind, configuration?: object): ToolRow =>
  row(DRAWING_TOOLS[kind].tool, `tool_${kind}`, { getTextLines: linesFor(kind), ...configuration }, true);

export const TOOLS: Record<ToolName, ToolRow> = {
  window: row(WindowLevelTool, "tool_window"),
  zoom: row(ZoomTool, "tool_zoom"),
  pan: row(PanTool, "tool_pan"),
  scroll: row(StackScrollTool, "tool_scroll"),
  magnify: row(MagnifyTool, "tool_magnify", { magnifySize: 6, magnifyWidth: 260, magnifyHeight: 260 }),
  length: measuring("length"),
  angle: measuring("angle"),
  cobb: measuring("cobb"),
  bidirectional: measuring("bidirectional"),
  rectangle: measuring("rectangle"),
  ellipse: measuring("ellipse"),
  // An area is closed when the button is let go, wherever that is.
  freehand: measuring("freehand", { allowOpenContours: false }),
  probe: measuring("probe"),
};

const { Primary, Secondary, Auxiliary, Wheel } = Enums.MouseBindings;

/** What stays bound whatever the primary button does. */
const STANDING: Partial<Record<ToolName, Types.IToolBinding[]>> = {
  pan: [{ mouseButton: Auxiliary }],
  zoom: [{ mouseButton: Secondary }, { numTouchPoints: 2 }],
  scroll: [{ mouseButton: Wheel }],
};

export class ToolBox {
  private readonly group: Types.IToolGroup;
  active: ToolName = "window";

  constructor(private readonly changed: () => void) {
    const group = ToolGroupManager.createToolGroup("reading");
    if (!group) throw new Error("the tool group exists already");
    this.group = group;
    for (const { tool, configuration } of Object.values(TOOLS)) {
      addTool(tool);
      group.addTool(tool.toolName, configuration);
    }
    annotation.config.style.setDefaultToolStyles({
      global: { ...annotation.config.style.getDefaultToolStyles()["global"], color: "rgb(255,214,102)", colorHighlighted: "rgb(120,220,255)",
        colorSelected: "rgb(120,220,255)", lineWidth: "1.5", lineDash: "", textBoxFontSize: "13px", textBoxColor: "rgb(255,226,150)",
        textBoxColorHighlighted: "rgb(160,230,255)", textBoxColorSelected: "rgb(160,230,255)",
        textBoxFontFamily: "system-ui, 'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif" },
    });
    // On a phone the first finger leafs through the slices.
    this.pick(matchMedia("(pointer: coarse)").matches ? "scroll" : "window");
  }

  add(viewportId: string): void {
    this.group.addViewport(viewportId, ENGINE);
  }

  remove(viewportId: string): void {
    this.group.removeViewports(ENGINE, viewportId);
  }

  /** Give the primary button to a tool; measurements stay visible and editable. */
  pick(name: ToolName): void {
    this.active = name;
    for (const other of Object.keys(TOOLS) as ToolName[]) {
      const { tool, isMeasurement } = TOOLS[other];
      const standing = STANDING[other] ?? [];
      const bindings = other === name ? [{ mouseButton: Primary }, ...standing] : standing;
      this.group.setToolPassive(tool.toolName, { removeAllBindings: true });
      if (bindings.length) this.group.setToolActive(tool.toolName, { bindings });
      else if (!isMeasurement) this.group.setToolDisabled(tool.toolName);
    }
    this.changed();
  }
}
