/** Standardised uptake value by body weight, where the header lets it be computed beyond doubt (QIBA's vendor-neutral rule). */
import { TAG, items, number, text, type Attributes } from "./attributes";

const UNITS = "00541001";
const DECAY_CORRECTION = "00541102";
const CORRECTED_IMAGE = "00280051";
const SUV_TYPE = "00541006";
const WEIGHT = "00101030";
const ZONE = "00080201";
const RADIOPHARMACEUTICAL = "00540016";
const DAY_S = 86_400;

/** What a pixel's value is multiplied by to be SUVbw (g/ml); undefined where anything that it rests on is missing. */
export function suvFactor(attributes: Attributes): number | undefined {
  if (text(attributes, TAG.modality) !== "PT") return undefined;
  if (text(attributes, UNITS) === "GML") return ["", "BW"].includes(text(attributes, SUV_TYPE)) ? 1 : undefined;
  const corrections = (attributes[CORRECTED_IMAGE]?.Value ?? []).map(String);
  if (text(attributes, UNITS) !== "BQML" || !corrections.includes("ATTN") || !corrections.includes("DECY")) return undefined;
  const given = items(attributes, RADIOPHARMACEUTICAL);
  const [dose, halfLife] = [number(given[0] ?? {}, "00181074") ?? 0, number(given[0] ?? {}, "00181075") ?? 0];
  const grams = (number(attributes, WEIGHT) ?? 0) * 1000;
  if (given.length !== 1 || !(dose > 0 && halfLife > 0 && grams > 0)) return undefined;
  const waited = secondsToScan(attributes, given[0]!);
  return waited === undefined ? undefined : grams / (dose * 2 ** (-waited / halfLife));
}

/** From the injection to the moment that the pixels are corrected to. */
function secondsToScan(attributes: Attributes, given: Attributes): number | undefined {
  const correctedTo = text(attributes, DECAY_CORRECTION);
  if (correctedTo === "ADMIN") return 0;
  const scan = moment(text(attributes, "00080021"), text(attributes, "00080031"));
  const acquired = moment(text(attributes, "00080022"), text(attributes, "00080032"));
  // A series time after the acquisition was written by somebody who worked on the images since.
  if (correctedTo !== "START" || scan === undefined || acquired === undefined || scan > acquired) return undefined;
  const whole = text(given, "00181078");
  const zone = /[+-]\d{4}$/.exec(whole)?.[0];
  if (zone && zone !== text(attributes, ZONE)) return undefined;
  const started = whole ? moment(whole.slice(0, 8), whole.slice(8).replace(/[+-]\d{4}$/, ""))
    : moment(text(attributes, "00080021"), text(given, "00181072"));
  if (started === undefined) return undefined;
  // A time alone may be of the evening before.
  const waited = scan - started + (!whole && started > scan ? DAY_S : 0);
  return waited >= 0 && waited < DAY_S ? waited : undefined;
}

/** Seconds since 1970 of a DA and a TM. */
function moment(date: string, time: string): number | undefined {
  const [, year, month, day] = /^(\d{4})(\d{2})(\d{2})$/.exec(date) ?? [];
  const [, hours, minutes, seconds] = /^(\d{2})(\d{2})(\d{2}(?:\.\d+)?)?$/.exec(time) ?? [];
  if (!year || !hours) return undefined;
  return Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hours), Number(minutes)) / 1000 + Number(seconds ?? 0);
}
