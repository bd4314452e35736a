/** A lead as an SVG path in millimetres of paper. */
import type { Cell, Paper } from "./layouts";

/** Finest step drawn: a tenth of a millimetre keeps the smallest and the largest sample, so every R peak survives. */
const STEP_MM = 0.1;

/** The path of `microvolts` (NaN where nothing was recorded) within a cell. */
export function tracePath(microvolts: ArrayLike<number>, samplingHz: number, cell: Cell, paper: Paper): string {
  const start = Math.round(cell.from * samplingHz);
  const end = Math.min(microvolts.length, Math.round(cell.to * samplingHz));
  const step = Math.max(1, Math.floor((samplingHz * STEP_MM) / paper.speed));
  const point = (index: number): string => {
    const x = cell.x + ((index - start) / samplingHz) * paper.speed;
    return `${x.toFixed(2)} ${(cell.y - (microvolts[index]! / 1000) * paper.gain).toFixed(2)}`;
  };
  let path = "";
  let isPenDown = false;
  for (let from = start; from < end; from += step) {
    let low = -1;
    let high = -1;
    for (let index = from; index < Math.min(end, from + step); index += 1) {
      if (Number.isNaN(microvolts[index]!)) continue;
      if (low < 0 || microvolts[index]! < microvolts[low]!) low = index;
      if (high < 0 || microvolts[index]! > microvolts[high]!) high = index;
    }
    if (low < 0) {
      isPenDown = false;
      continue;
    }
    for (const index of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      path += `${isPenDown ? "L" : "M"}${point(index)}`;
      isPenDown = true;
    }
  }
  return path;
}

/** The 1 mV pulse, 5 mm wide at any speed, in the margin before a row. */
export function pulsePath(x: number, y: number, paper: Paper): string {
  return `M${x} ${y}h1.5v${-paper.gain}h5v${paper.gain}h1.5`;
}
