/** Zero-phase filters for the screen: they must not shift ST or QT, so every pass runs forward and back. */
export interface FilterChoice {
  highPassHz: number;
  lowPassHz: number;
  notch: boolean;
}

export const BANDS: Record<string, { highPassHz: number; lowPassHz: number }> = {
  none: { highPassHz: 0, lowPassHz: 0 },
  "150": { highPassHz: 0.05, lowPassHz: 150 },
  "40": { highPassHz: 0.5, lowPassHz: 40 },
};

const MAINS_HZ = 50;
const BUTTERWORTH_Q = Math.SQRT1_2;
const NOTCH_Q = 25;

type Biquad = [b0: number, b1: number, b2: number, a1: number, a2: number];

/** Second-order sections after Bristow-Johnson's Audio EQ Cookbook. */
function biquad(kind: "low" | "high" | "notch", cornerHz: number, samplingHz: number, q: number): Biquad {
  const w = (2 * Math.PI * cornerHz) / samplingHz;
  const [cos, alpha] = [Math.cos(w), Math.sin(w) / (2 * q)];
  const a0 = 1 + alpha;
  const a1 = (-2 * cos) / a0;
  const a2 = (1 - alpha) / a0;
  if (kind === "low") return [(1 - cos) / 2 / a0, (1 - cos) / a0, (1 - cos) / 2 / a0, a1, a2];
  if (kind === "high") return [(1 + cos) / 2 / a0, -(1 + cos) / a0, (1 + cos) / 2 / a0, a1, a2];
  return [1 / a0, a1, 1 / a0, a1, a2];
}

function run(samples: Float64Array<ArrayBuffer>, [b0, b1, b2, a1, a2]: Biquad): void {
  let z1 = 0;
  let z2 = 0;
  for (let i = 0; i < samples.length; i += 1) {
    const input = samples[i]!;
    const output = b0 * input + z1;
    z1 = b1 * input - a1 * output + z2;
    z2 = b2 * input - a2 * output;
    samples[i] = output;
  }
}

/** Forward and back, with the signal mirrored at both ends so that no filter starts from a step. */
function zeroPhase(samples: Float64Array<ArrayBuffer>, section: Biquad, padding: number): Float64Array<ArrayBuffer> {
  const n = samples.length;
  const pad = Math.min(n - 1, padding);
  const padded = new Float64Array(n + 2 * pad);
  padded.set(samples, pad);
  for (let k = 1; k <= pad; k += 1) {
    padded[pad - k] = 2 * samples[0]! - samples[k]!;
    padded[pad + n - 1 + k] = 2 * samples[n - 1]! - samples[n - 1 - k]!;
  }
  // Remove the level before filtering: a high pass would ring on it. A low pass or notch gets it back.
  const level = padded[0]!;
  for (let i = 0; i < padded.length; i += 1) padded[i] = padded[i]! - level;
  run(padded, section);
  padded.reverse();
  run(padded, section);
  padded.reverse();
  const gainAtZero = (section[0] + section[1] + section[2]) / (1 + section[3] + section[4]);
  return padded.slice(pad, pad + n).map((value) => value + level * gainAtZero * gainAtZero);
}

/** One lead in microvolts, filtered; gaps stay gaps (NaN) and are bridged only inside the filter. */
export function filtered(samples: (number | null)[], samplingHz: number, choice: FilterChoice): Float64Array<ArrayBuffer> {
  const bridged = new Float64Array(samples.length);
  let last = samples.find((value) => value !== null) ?? 0;
  samples.forEach((value, index) => { bridged[index] = last = value ?? last; });
  let out = bridged;
  const padding = Math.round(samplingHz * 2);
  const limit = samplingHz * 0.45;
  if (choice.highPassHz > 0) out = zeroPhase(out, biquad("high", choice.highPassHz, samplingHz, BUTTERWORTH_Q), padding);
  if (choice.lowPassHz > 0 && choice.lowPassHz < limit) {
    out = zeroPhase(out, biquad("low", choice.lowPassHz, samplingHz, BUTTERWORTH_Q), padding);
  }
  if (choice.notch && MAINS_HZ < limit) out = zeroPhase(out, biquad("notch", MAINS_HZ, samplingHz, NOTCH_Q), padding);
  return out.map((value, index) => (samples[index] === null ? NaN : value));
}
