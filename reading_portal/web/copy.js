// Copies htmx and its server-sent-events extension, unchanged, to where the portal serves them.
import { copyFileSync, mkdirSync } from "node:fs";

const here = new URL("./", import.meta.url);
const vendor = new URL("../static/vendor/", import.meta.url);
const files = { "htmx.org/dist/htmx.min.js": "htmx.js", "htmx-ext-sse/dist/sse.min.js": "htmx-sse.js" };

mkdirSync(vendor, { recursive: true });
for (const [source, name] of Object.entries(files)) {
  copyFileSync(new URL(`node_modules/${source}`, here), new URL(name, vendor));
}
