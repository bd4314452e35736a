/** How an image lies on the screen: turned, mirrored, larger or smaller. Where it lies is Cornerstone's. */
import type { Types } from "@cornerstonejs/core";
import { usesCPU } from "./cornerstone";

type Stack = Types.IStackViewport;

/** Clockwise as she sees it. */
export function turn(stack: Stack, degrees: number): void {
  const { rotation = 0 } = stack.getViewPresentation();
  stack.setViewPresentation({ rotation: (rotation + degrees + 360) % 360 });
}

/** The CPU renderer mirrors by its camera, the GPU renderer by the presentation. */
export function mirror(stack: Stack, how: { flipHorizontal?: boolean; flipVertical?: boolean }): void {
  if (usesCPU()) stack.setCamera(how);
  else stack.setViewPresentation(how);
}

export function isMirrored(stack: Stack): boolean {
  const { flipHorizontal, flipVertical } = stack.getCamera();
  return !!flipHorizontal !== !!flipVertical;
}

export function enlarge(stack: Stack, factor: number): void {
  stack.setZoom(stack.getZoom() * factor);
}

export function straighten(stack: Stack): void {
  mirror(stack, { flipHorizontal: false });
  stack.setViewPresentation({ rotation: 0, flipVertical: false });
  stack.resetCamera();
}
