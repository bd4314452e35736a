/** Figures in words, as they stand beside a measurement. */
import type { Figure, Quantity, Reading } from "./figures";
import { word, type WordKey } from "./words";

export function linesOf({ figures }: Reading): string[] {
  const has = new Map(figures.map((figure) => [figure.quantity, figure]));
  const lines: string[] = [];
  for (const figure of figures) {
    if (figure.quantity === "max") continue;
    const most = has.get("max");
    lines.push(figure.quantity === "min" && most ? `${word("range")} ${digits(figure)} … ${digits(most)}` : FORMS[figure.quantity](figure));
  }
  return lines.map((line) => line.trim());
}

export function valueText(value: number | number[], unit: string): string {
  return Array.isArray(value) ? `RGB ${value.join(" ")}` : `${rounded(value)} ${unit}`.trim();
}

const tenths = (figure: Figure): string => `${figure.value.toFixed(figure.unit === "SUVbw" ? 2 : 1)} ${figure.unit}`;
/** Without its unit: whole pixel values as they are, an uptake to the hundredth. */
const digits = ({ quantity, value, unit }: Figure): string =>
  (unit === "SUVbw" ? value.toFixed(2) : quantity === "deviation" ? value.toFixed(1) : rounded(value));
const named = (name: WordKey) => (figure: Figure): string => `${word(name)} ${tenths(figure)}`;
const plain = (figure: Figure): string => `${digits(figure)} ${figure.unit}`.trim();
const FORMS: Record<Quantity, (figure: Figure) => string> = {
  length: tenths,
  long_axis: named("long_axis"),
  short_axis: named("short_axis"),
  across: (figure) => `Δx ${tenths(figure)}`,
  down: (figure) => `Δy ${tenths(figure)}`,
  angle: ({ value, unit }) => `${value.toFixed(1)}${unit}`,
  area: named("area"),
  mean: named("mean"),
  deviation: (figure) => `${word("deviation")} ${digits(figure)}`,
  min: plain,
  max: plain,
  value: plain,
};

export const figureText = (figure: Figure): string => FORMS[figure.quantity](figure);

/** Who says how long a pixel is. */
export const calibrationText = ({ calibration }: Reading): string => word(`cal_${calibration}` as WordKey);

const rounded = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));
