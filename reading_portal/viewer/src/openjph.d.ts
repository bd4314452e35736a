/** OpenJPH as WebAssembly brings no types of its own; this is what we use of it. */
declare module "@cornerstonejs/codec-openjph/wasmjs" {
  interface HTJ2KDecoder {
    getEncodedBuffer(length: number): Uint8Array;
    decode(): void;
    getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number; isSigned: boolean };
    getDecodedBuffer(): Uint8Array;
    delete(): void;
  }
  const load: (options: { locateFile(name: string): string }) => Promise<{ HTJ2KDecoder: new () => HTJ2KDecoder }>;
  export default load;
}
