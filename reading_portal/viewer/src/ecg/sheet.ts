/** The ECG sheet: one SVG whose user unit is a millimetre of paper, so speed, gain and calipers are exact. */
import { filtered, type FilterChoice } from "./filters";
import { MARGIN, layOut, type Paper, type Sheet } from "./layouts";
import { leadNames, durationOf, type Group } from "./recording";
import { pulsePath, tracePath } from "./trace";

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag: string, attributes: Record<string, string | number>, ...children: (Node | string)[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

export interface DrawnSheet extends Sheet {
  element: SVGSVGElement;
}

/** Draw a group in about `room` mm of height; `note` stands at the foot of the paper (speed, gain, filter). */
export function drawSheet(group: Group, paper: Paper, choice: FilterChoice, note: string, room: number): DrawnSheet {
  const sheet = layOut(leadNames(group), durationOf(group), paper, room);
  const { width, height } = sheet;
  const leads = new Map(group.leads.map((lead) => [lead.name, lead]));
  const cache = new Map<string, Float64Array>();
  const traces = sheet.cells.flatMap((cell) => {
    const lead = leads.get(cell.lead);
    if (!lead) return [];
    if (!cache.has(cell.lead)) cache.set(cell.lead, filtered(lead.samples_uv, group.sampling_frequency, choice));
    const drawn: Node[] = [
      svg("path", { class: "trace", "data-lead": cell.lead, d: tracePath(cache.get(cell.lead)!, group.sampling_frequency, cell, paper) }),
      svg("text", { class: "lead", x: cell.x + 1, y: cell.y - paper.gain * 0.55 - 3 }, lead.calibrated ? cell.lead : `${cell.lead} ?`),
    ];
    if (!cell.isFirstInRow) drawn.push(svg("path", { class: "divider", d: `M${cell.x} ${cell.y - 3}v6` }));
    if (cell.isFirstInRow && lead.calibrated) drawn.push(svg("path", { class: "trace", d: pulsePath(MARGIN.left - 10, cell.y, paper) }));
    return drawn;
  });
  const element = svg("svg", { class: "ecg-paper", viewBox: `0 0 ${width} ${height}` }, grid(),
    svg("rect", { width, height, fill: "url(#ecg-5mm)" }), ...traces,
    svg("text", { class: "note", x: MARGIN.left, y: height - 1.8 }, note)) as SVGSVGElement;
  return { ...sheet, element };
}

function grid(): SVGElement {
  return svg("defs", {},
    svg("pattern", { id: "ecg-1mm", width: 1, height: 1, patternUnits: "userSpaceOnUse" }, svg("path", { class: "grid-1mm", d: "M1 0H0V1" })),
    svg("pattern", { id: "ecg-5mm", width: 5, height: 5, patternUnits: "userSpaceOnUse" },
      svg("rect", { width: 5, height: 5, fill: "url(#ecg-1mm)" }), svg("path", { class: "grid-5mm", d: "M5 0H0V5" })));
}
