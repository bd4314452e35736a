/** Figures in words, as they stand beside a measurement. */
import type { Figure, Quantity, Reading } from "./figures";
import { word, type WordKey } from "./words";

export function linesOf({ figures }: Reading): string[] {
  const has = new Map(figures.map((figure) => [figure.quantity, figure]));
  const lines: string[] = [];
  for (const figure of figures) {
    if (figure.quantity === "max") continue;
    const most = has.get("max");
    lines.push(figure.quantity === "min" && most ? `${word("range")} ${rounded(figure.value)} … ${rounded(most.value)}` : FORMS[figure.quantity](figure));
  }
  return lines.map((line) => line.trim());
}

export function valueText(value: number | number[], unit: string): string {
  return Array.isArray(value) ? `RGB ${value.join(" ")}` : `${rounded(value)} ${unit}`.trim();
}

const tenths = ({ value, unit }: Figure): string => `${value.toFixed(1)} ${unit}`;
const named = (name: WordKey) => (figure: Figure): string => `${word(name)} ${tenths(figure)}`;
const plain = ({ value, unit }: Figure): string => valueText(value, unit);
const FORMS: Record<Quantity, (figure: Figure) => string> = {
  length: tenths,
  long_axis: named("long_axis"),
  short_axis: named("short_axis"),
  across: (figure) => `Δx ${tenths(figure)}`,
  down: (figure) => `Δy ${tenths(figure)}`,
  angle: ({ value, unit }) => `${value.toFixed(1)}${unit}`,
  area: named("area"),
  mean: named("mean"),
  deviation: ({ value }) => `${word("deviation")} ${value.toFixed(1)}`,
  min: plain,
  max: plain,
  value: plain,
};

export const figureText = (figure: Figure): string => FORMS[figure.quantity](figure);

/** Who says how long a pixel is. */
export const calibrationText = ({ calibration }: Reading): string => word(`cal_${calibration}` as WordKey);

const rounded = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));
