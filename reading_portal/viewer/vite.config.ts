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

export default defineConfig({
  plugins: [textBoxUnderStrictPolicy],
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
