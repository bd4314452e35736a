import { readFileSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const source = (path: string): string => new URL(path, import.meta.url).pathname;

/**
 * Cornerstone's text boxes set a style attribute, which `style-src 'self'` forbids (the same through the CSSOM is
 * allowed). The build stops when a new version has changed the line.
 */
const textBoxUnderStrictPolicy: Plugin = {
  name: "text-box-under-strict-policy",
  transform(code, id) {
    if (!id.includes("/drawingSvg/drawTextBox.js")) return undefined;
    const fixed = code.replace("textElement.setAttribute('style', combinedStyle)", "textElement.style.cssText = combinedStyle");
    if (fixed === code) this.error("drawTextBox.js no longer sets its style attribute as expected");
    return { code: fixed, map: null };
  },
};

/** `name.br` and `name.gz` beside every file worth it, so that no server compresses a megabyte at each visit. */
const compressedBeside: Plugin = {
  name: "compressed-beside",
  apply: "build",
  writeBundle({ dir }, bundle) {
    for (const name of Object.keys(bundle).filter((file) => /\.(js|css|wasm)$/.test(file))) {
      const bytes = readFileSync(`${dir}/${name}`);
      if (bytes.length < 1024) continue;
      writeFileSync(`${dir}/${name}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 10 } }));
      writeFileSync(`${dir}/${name}.gz`, gzipSync(bytes, { level: 9 }));
    }
  },
};

export default defineConfig({
  plugins: [textBoxUnderStrictPolicy, compressedBeside],
  // Relative, so that the portal may mount the bundle wherever it likes.
  base: "./",
  resolve: {
    alias: [
      // vtk.js' XML reader pulls in node's `events` and stops the whole bundle with "Class extends value undefined".
      {
        find: /^@kitware\/vtk\.js\/IO\/XML\/XMLPolyDataReader(\.js)?$/,
        replacement: source("./src/stubs/xml_poly_data_reader.ts"),
      },
    ],
  },
  worker: { format: "es" },
  optimizeDeps: { exclude: ["@cornerstonejs/dicom-image-loader"], include: ["dicom-parser"] },
  build: {
    target: "es2022",
    outDir: "../static/viewer",
    emptyOutDir: true,
    manifest: "manifest.json",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 6000,
    rollupOptions: { input: { reading: source("./src/reading.ts"), ecg: source("./src/ecg.ts") } },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
