/** `window.readingViewer`: what tests and curious engineers may ask; nothing in the product depends on it. */
import { annotation } from "@cornerstonejs/tools";
import { kindOf } from "./drawing_tools";
import { pixelToWorld, type Point2 } from "./geometry";
import { linesFor } from "./measurements";
import type { ToolBox } from "./tools";
import type { Viewer } from "./viewer";

export function exposeHooks(viewer: Viewer, tools: ToolBox): void {
  const at = (number: number) => viewer.grid.viewports[number]!;
  const hooks = {
    /** Milliseconds since navigation: script, manifest, firstImage, previews, allImages. */
    T: viewer.marks,
    /** Modality value (HU for CT) of pixel [column, row] of the slice on the screen. */
    value: (column: number, row: number, viewport = 0) => at(viewport).value([column, row]),
    slice: (viewport = 0) => ({ index: at(viewport).index, count: at(viewport).displaySet?.frames.length ?? 0,
      sop_instance_uid: at(viewport).frame?.instance.sopInstanceUID, frame: at(viewport).frame?.number }),
    scrollTo: (index: number, viewport = 0) => at(viewport).scrollTo(index),
    window: (viewport = 0) => at(viewport).window(),
    properties: (viewport = 0) => at(viewport).stack.getProperties(),
    presentation: (viewport = 0) => at(viewport).stack.getViewPresentation(),
    quality: (viewport = 0) => at(viewport).quality,
    layout: () => viewer.grid.layout,
    planes: () => viewer.planes,
    /** Where the slice on the screen lies along its stack, in mm. */
    place: (viewport = 0) => viewer.links.placeIn(at(viewport)),
    link: (viewport = 0) => viewer.linkOf(at(viewport)),
    study: (viewport = 0) => at(viewport).displaySet?.studyInstanceUID,
    /** Side and view, as one says "R MLO". */
    face: (viewport = 0) => `${at(viewport).displaySet?.laterality} ${at(viewport).displaySet?.view}`,
    shown: (viewport = 0) => at(viewport).displaySet?.id,
    active: () => viewer.grid.active.number,
    tool: () => tools.active,
    displaySets: () => [...viewer.displaySets.values()].map(({ id, modality, description, frames, standing }) =>
      ({ id, modality, description, frames: frames.length, standing })),
    /** Client coordinates of pixel [column, row], to point a test's mouse at it. */
    screen: (column: number, row: number, viewport = 0) => {
      const plane = at(viewport).plane();
      const box = at(viewport).host.getBoundingClientRect();
      const [x, y] = plane ? at(viewport).stack.worldToCanvas(pixelToWorld(plane, [column, row])) as Point2 : [NaN, NaN];
      return { x: box.left + x, y: box.top + y };
    },
    measurements: () => annotation.state.getAllAnnotations().flatMap(({ metadata, data }) => {
      const kind = kindOf(metadata?.toolName ?? "");
      return metadata && kind ? [{ kind, lines: linesFor(kind)(data as never, `imageId:${metadata.referencedImageId}`) }] : [];
    }),
    measurementsAreSaved: () => viewer.measurements.isSaved,
  };
  (window as unknown as { readingViewer: typeof hooks }).readingViewer = hooks;
}
