/** Rate and corrected QT. Times in milliseconds. */
export const FORMULAS: Record<string, (qt: number, rr: number) => number> = {
  Bazett: (qt, rr) => qt / Math.sqrt(rr / 1000),
  Fridericia: (qt, rr) => qt / Math.cbrt(rr / 1000),
  Framingham: (qt, rr) => qt + 154 * (1 - rr / 1000),
  Hodges: (qt, rr) => qt + 1.75 * (rateOf(rr) - 60),
};

/** Beats per minute of an RR interval. */
export const rateOf = (rr: number): number => 60000 / rr;

export function correctedQT(qt: number, rr: number): Record<string, number> {
  return Object.fromEntries(Object.entries(FORMULAS).map(([name, formula]) => [name, formula(qt, rr)]));
}
