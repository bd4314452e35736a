/** What the build does beyond Vite: a fix for the strict policy, compressed files, and the previous build kept. */
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin } from "vite";

/**
 * Cornerstone's text boxes set a style attribute, which `style-src 'self'` forbids (the same through the CSSOM is
 * allowed). The build stops when a new version has changed the line.
 */
export const textBoxUnderStrictPolicy: Plugin = {
  name: "text-box-under-strict-policy",
  transform(code, id) {
    if (!id.includes("/drawingSvg/drawTextBox.js")) return undefined;
    const fixed = code.replace("textElement.setAttribute('style', combinedStyle)", "textElement.style.cssText = combinedStyle");
    if (fixed === code) this.error("drawTextBox.js no longer sets its style attribute as expected");
    return { code: fixed, map: null };
  },
};

/** `name.br` and `name.gz` beside every file worth it, so that no server compresses a megabyte at each visit. */
export const compressedBeside: Plugin = {
  name: "compressed-beside",
  apply: "build",
  writeBundle({ dir }, bundle) {
    for (const name of Object.keys(bundle).filter((file) => /\.(js|css|wasm)$/.test(file))) {
      const bytes = readFileSync(`${dir}/${name}`);
      if (bytes.length < 1024) continue;
      writeFileSync(`${dir}/${name}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }));
      writeFileSync(`${dir}/${name}.gz`, gzipSync(bytes, { level: 9 }));
    }
  },
};

/** Names carry hashes, so two builds lie side by side; what is older than the previous one is removed. */
export const previousBuildKept: Plugin = {
  name: "previous-build-kept",
  apply: "build",
  writeBundle({ dir }, bundle) {
    const list = `${dir}/files.json`;
    const now = Object.keys(bundle);
    const before: string[] = existsSync(list) ? JSON.parse(readFileSync(list, "utf8")) : [];
    const kept = new Set([...now, ...before]);
    for (const name of readdirSync(`${dir}/assets`)) {
      if (!kept.has(`assets/${name.replace(/\.(br|gz)$/, "")}`)) rmSync(`${dir}/assets/${name}`);
    }
    writeFileSync(list, JSON.stringify(now));
  },
};
