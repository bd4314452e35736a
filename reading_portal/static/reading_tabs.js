// Exams of other patients that are open in other tabs are said on each of them; one exam is written in one tab only.
import { say } from "./portal.js";

/** `elsewhere` runs when this exam is opened in a newer tab. */
export function watchTabs(task, label, line, elsewhere) {
  const channel = new BroadcastChannel("reading"), id = crypto.randomUUID?.() ?? String(Math.random());
  const others = new Map();
  const tell = (kind) => channel.postMessage({ kind, id, task, label });
  function show() {
    const open = [...new Set([...others.values()].filter((one) => one.task !== task).map((one) => one.label))];
    line.hidden = !open.length;
    line.lastElementChild.textContent = open.length ? say("Also open in another tab: {0}", open.join("; ")) : "";
  }
  channel.addEventListener("message", ({ data }) => {
    if (data.kind === "gone") others.delete(data.id);
    else others.set(data.id, data);
    if (data.kind === "open") {
      tell("here");
      if (data.task === task) elsewhere();
    }
    show();
  });
  window.addEventListener("pagehide", () => tell("gone"));
  // Taken out of the browser's memory of pages: what it shows may be long past.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  tell("open");
}
