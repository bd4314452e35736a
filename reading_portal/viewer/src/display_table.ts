/** Stored values → display values of one plain monochrome frame: rescale, LINEAR window, MONOCHROME1 turned over. Pure. */

/** What the page says about its first frame; named as the server names it. */
export interface FirstFrame {
  url: string;
  rows: number;
  columns: number;
  bits_stored: number;
  is_signed: boolean;
  is_inverted: boolean;
  slope: number;
  intercept: number;
  /** In modality units, HU for CT. */
  center: number;
  width: number;
}

/**
 * Display values 0 … 255 by the stored bits, 2^bits_stored of them (PS3.3 C.11.1.1.2, C.11.2.1.2.1).
 * In single precision step by step, as the server draws: both give the same picture, bit by bit.
 */
export function displayTable(frame: FirstFrame): Uint8Array {
  const f = Math.fround;
  const count = 2 ** frame.bits_stored;
  const [slope, intercept, width] = [f(frame.slope), f(frame.intercept), f(frame.width)];
  const middle = f(f(frame.center) - 0.5);
  const shown = new Uint8Array(count);
  for (let bits = 0; bits < count; bits++) {
    const stored = frame.is_signed && bits >= count / 2 ? bits - count : bits;
    const value = f(f(stored * slope) + intercept);
    const linear = width <= 1 ? Number(value > middle) : f(f(f(value - middle) / f(width - 1)) + 0.5);
    const level = Math.min(1, Math.max(0, linear));
    shown[bits] = f(f((frame.is_inverted ? f(1 - level) : level) * 255) + 0.5);
  }
  return shown;
}

/** The frame as RGBA, opaque grey. `containers` are the decoded pixels; bits above the stored ones mean nothing. */
export function paint(containers: Uint8Array | Uint16Array, frame: FirstFrame): Uint8ClampedArray<ArrayBuffer> {
  const table = displayTable(frame);
  const mask = table.length - 1;
  const grey = Uint32Array.from(table, (level) => (0xff000000 | (level * 0x010101)) >>> 0);
  const pixels = new Uint32Array(frame.rows * frame.columns);
  for (let at = 0; at < pixels.length; at++) pixels[at] = grey[containers[at]! & mask]!;
  return new Uint8ClampedArray(pixels.buffer);
}
