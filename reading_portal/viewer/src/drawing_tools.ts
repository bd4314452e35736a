/** Which of Cornerstone's tools draws which kind of measurement. */
import { AngleTool, BidirectionalTool, CobbAngleTool, EllipticalROITool, LengthTool, PlanarFreehandROITool, ProbeTool,
  RectangleROITool } from "@cornerstonejs/tools";
import type { Kind } from "./figures";

/** `tool` is unknown because Cornerstone's tool classes share no constructable type. */
export const DRAWING_TOOLS: Record<Kind, { tool: unknown; name: string }> = {
  length: { tool: LengthTool, name: LengthTool.toolName },
  angle: { tool: AngleTool, name: AngleTool.toolName },
  cobb: { tool: CobbAngleTool, name: CobbAngleTool.toolName },
  bidirectional: { tool: BidirectionalTool, name: BidirectionalTool.toolName },
  rectangle: { tool: RectangleROITool, name: RectangleROITool.toolName },
  ellipse: { tool: EllipticalROITool, name: EllipticalROITool.toolName },
  freehand: { tool: PlanarFreehandROITool, name: PlanarFreehandROITool.toolName },
  probe: { tool: ProbeTool, name: ProbeTool.toolName },
};
const KINDS = Object.keys(DRAWING_TOOLS) as Kind[];

export const toolNameOf = (kind: Kind): string => DRAWING_TOOLS[kind].name;
export const kindOf = (toolName: string): Kind | undefined => KINDS.find((kind) => toolNameOf(kind) === toolName);
/** Its points are a closed line rather than handles. */
export const closes = (kind: Kind): boolean => kind === "freehand";
