/** Colour palettes (PS3.3 C.7.6.3.1.5/6) as numbers: Cornerstone reads neither base64 nor bulk data for them. */
import { TAG, numbers, text, type Attributes, type Element } from "./attributes";

const TABLES: [descriptor: string, data: string][] = [["00281101", "00281201"], ["00281102", "00281202"], ["00281103", "00281203"]];

/** Replace the palette tables of a PALETTE COLOR header by their values; other headers are left alone. */
export async function resolvePalettes(attributes: Attributes): Promise<void> {
  if (text(attributes, TAG.photometric) !== "PALETTE COLOR") return;
  for (const [descriptor, tag] of TABLES) {
    const element = attributes[tag];
    if (!element || element.Value) continue;
    const bytes = element.InlineBinary !== undefined ? decoded(element.InlineBinary) : await fetched(element);
    attributes[tag] = { vr: element.vr, Value: paletteValues(bytes, numbers(attributes, descriptor)) };
  }
}

/** Bytes of a table → its entries; 8-bit tables are packed bytes, 16-bit tables little-endian words. */
export function paletteValues(bytes: Uint8Array, descriptor: number[]): number[] {
  const entries = descriptor[0] || 65536;
  if (bytes.length < entries * 2) return [...bytes.subarray(0, entries)];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: entries }, (_, index) => view.getUint16(index * 2, true));
}

const decoded = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

async function fetched(element: Element): Promise<Uint8Array> {
  if (!element.BulkDataURI) throw new Error("a palette without data");
  const answer = await fetch(element.BulkDataURI, { credentials: "same-origin", headers: { Accept: "application/octet-stream" } });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}
