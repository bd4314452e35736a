/** Where each lead stands on the paper, in millimetres. */
export const ECG_LAYOUTS = ["3x4+1", "6x2", "12x1", "median"] as const;
export type EcgLayout = (typeof ECG_LAYOUTS)[number];

export interface Paper {
  speed: 25 | 50;
  gain: 5 | 10 | 20;
  layout: EcgLayout;
}
export interface Cell {
  lead: string;
  /** Left edge and baseline. */
  x: number;
  y: number;
  /** Part of the recording, in seconds. */
  from: number;
  to: number;
  isFirstInRow: boolean;
}
export interface Sheet {
  width: number;
  height: number;
  cells: Cell[];
}

export const MARGIN = { left: 14, top: 8, right: 6, bottom: 6 };

/** Row heights in millivolts either side of the baseline taken together, by layout. */
const ROW_MILLIVOLTS: Record<EcgLayout, number> = { "3x4+1": 2.6, "6x2": 2.2, "12x1": 1.9, median: 3 };

/** Rows grow no further than this, however much room there is. */
const TALLEST_ROW_MM = 42;

/** Lay out the leads of one group that lasts `seconds`; rows share `room` millimetres of height if there is that much. */
export function layOut(names: string[], seconds: number, paper: Paper, room = 0): Sheet {
  const columns = columnsFor(names, paper.layout);
  const rowsWanted = Math.max(...columns.map((column) => column.length)) + (paper.layout === "3x4+1" ? 1 : 0);
  const fair = (room - MARGIN.top - MARGIN.bottom) / rowsWanted;
  const row = Math.max(15, ROW_MILLIVOLTS[paper.layout] * paper.gain, Math.min(TALLEST_ROW_MM, fair));
  const share = paper.layout === "median" ? seconds : seconds / columns.length;
  const cells: Cell[] = columns.flatMap((column, c) => column.map((lead, r) => ({
    lead,
    x: MARGIN.left + c * (share * paper.speed + (paper.layout === "median" ? 4 : 0)),
    y: MARGIN.top + (r + 0.5) * row,
    from: paper.layout === "median" ? 0 : c * share,
    to: paper.layout === "median" ? seconds : (c + 1) * share,
    isFirstInRow: c === 0,
  })));
  let rows = Math.max(...columns.map((column) => column.length));
  if (paper.layout === "3x4+1") {
    const rhythm = names.includes("II") ? "II" : names[0];
    if (rhythm) cells.push({ lead: rhythm, x: MARGIN.left, y: MARGIN.top + (rows + 0.5) * row, from: 0, to: seconds, isFirstInRow: true });
    rows += 1;
  }
  const right = Math.max(...cells.map((cell) => cell.x + (cell.to - cell.from) * paper.speed));
  return { width: Math.ceil(right + MARGIN.right), height: Math.ceil(MARGIN.top + rows * row + MARGIN.bottom), cells };
}

function columnsFor(names: string[], layout: EcgLayout): string[][] {
  const rows = { "3x4+1": 3, "6x2": 6, "12x1": names.length, median: 3 }[layout];
  const columns: string[][] = [];
  for (let start = 0; start < names.length; start += rows) columns.push(names.slice(start, start + rows));
  return columns.length ? columns : [[]];
}
