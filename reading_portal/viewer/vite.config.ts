import { defineConfig } from "vitest/config";
import { compressedBeside, previousBuildKept, textBoxUnderStrictPolicy } from "./vite_plugins";

const source = (path: string): string => new URL(path, import.meta.url).pathname;

export default defineConfig({
  plugins: [textBoxUnderStrictPolicy, compressedBeside, previousBuildKept],
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
    // Pages that are open while a new build is laid down still ask for the files of the one before.
    emptyOutDir: false,
    manifest: "manifest.json",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 6000,
    rollupOptions: { input: { reading: source("./src/reading.ts"), ecg: source("./src/ecg.ts") } },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
