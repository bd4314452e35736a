/** Beside the page's thread: fetches the first frame, decodes it and paints it. Where anything is not as told, silence. */
import openJph from "@cornerstonejs/codec-openjph/wasmjs";
import decoderUrl from "@cornerstonejs/codec-openjph/wasm?url";
import { paint, type FirstFrame } from "./display_table";
import { SINGLE_PART } from "./frame_types";

export interface Order {
  frame: FirstFrame;
  canvas: OffscreenCanvas;
}

const scope = self as unknown as { onmessage: (event: MessageEvent<Order>) => void; postMessage(word: string): void };

// The decoder is on its way before the order arrives.
const codec = openJph({ locateFile: (name: string) => (name.endsWith(".wasm") ? decoderUrl : name) });

scope.onmessage = ({ data: { frame, canvas } }) => {
  const context = canvas.getContext("2d")!;
  // The browser needs the page's thread for the first touch of a canvas here and to show its first picture, and that
  // thread is soon taken for a second. So there is a first picture at once: nothing, transparent.
  context.putImageData(new ImageData(1, 1), 0, 0);
  requestAnimationFrame(() => requestAnimationFrame(() => scope.postMessage("ready")));
  draw(frame, context).then(() => requestAnimationFrame(() => scope.postMessage("painted")), () => scope.postMessage("failed"));
};

async function draw(frame: FirstFrame, context: OffscreenCanvasRenderingContext2D): Promise<void> {
  const answer = await fetch(frame.url, { headers: { Accept: SINGLE_PART }, priority: "high" });
  const type = answer.headers.get("Content-Type") ?? "";
  if (!answer.ok || !/transfer-syntax="?1\.2\.840\.10008\.1\.2\.4\.20[12]"?\s*$/.test(type)) throw new Error(`${answer.status} ${type}`);
  const [encoded, { HTJ2KDecoder }] = await Promise.all([answer.arrayBuffer(), codec]);
  const decoder = new HTJ2KDecoder();
  decoder.getEncodedBuffer(encoded.byteLength).set(new Uint8Array(encoded));
  decoder.decode();
  const { width, height, bitsPerSample, componentCount } = decoder.getFrameInfo();
  const bytes = decoder.getDecodedBuffer().slice();
  decoder.delete();
  const isWhole = width === frame.columns && height === frame.rows && componentCount === 1 && bitsPerSample >= frame.bits_stored
    && bytes.length === width * height * (bitsPerSample > 8 ? 2 : 1);
  if (!isWhole) throw new Error("the frame is not what the page says");
  const picture = new ImageData(paint(bitsPerSample > 8 ? new Uint16Array(bytes.buffer) : bytes, frame), width, height);
  context.putImageData(picture, 0, 0);
}
