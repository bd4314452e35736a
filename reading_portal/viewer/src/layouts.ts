/** How the screen is divided: rows × columns, 1×1 to 4×4. */
type Side = 1 | 2 | 3 | 4;
export type Layout = `${Side}x${Side}`;

const SIDES: Side[] = [1, 2, 3, 4];
export const LAYOUTS: Layout[] = SIDES.flatMap((rows) => SIDES.map((columns): Layout => `${rows}x${columns}`));

/** What one key steps through; every other layout is in the picker. */
const STEPS: Layout[] = ["1x1", "1x2", "2x2", "2x3", "3x3", "4x4"];

export const rowsOf = (layout: Layout): number => Number(layout[0]);
export const columnsOf = (layout: Layout): number => Number(layout[2]);
export const cellsOf = (layout: Layout): number => rowsOf(layout) * columnsOf(layout);

export const isLayout = (text: string): text is Layout => (LAYOUTS as string[]).includes(text);

/** The next of the common layouts that has more cells than this one; one cell after the last. */
export const nextLayout = (layout: Layout): Layout => STEPS.find((step) => cellsOf(step) > cellsOf(layout)) ?? "1x1";

/** The smallest layout with this many cells, wider than high as screens are. */
export const layoutFor = (cells: number): Layout =>
  [...LAYOUTS].sort((a, b) => cellsOf(a) - cellsOf(b) || columnsOf(b) - rowsOf(b) - columnsOf(a) + rowsOf(a))
    .filter((layout) => columnsOf(layout) >= rowsOf(layout) && columnsOf(layout) - rowsOf(layout) < 2)
    .find((layout) => cellsOf(layout) >= cells) ?? "4x4";
