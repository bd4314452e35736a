/** Boots a viewer on the page's section; a failure is a sentence on the screen, and the server's first picture stays. */
import { readPage, type Page } from "./page";
import { speak, word } from "./words";

export function boot(start: (page: Page) => Promise<void>): void {
  const section = document.getElementById("viewer");
  if (!section) return;
  const page = readPage(section);
  speak(page.language);
  start(page).catch((error: unknown) => {
    console.error("viewer", error);
    const message = error instanceof Error ? error.message : String(error);
    const line = document.createElement("p");
    line.className = "viewer-failure";
    line.setAttribute("role", "alert");
    const status = /^HTTP (\d+)/.exec(message)?.[1];
    line.textContent = status ? word(page.kind === "ecg" ? "fail_ecg" : "fail_manifest", status) : word("fail_start", message);
    section.append(line);
  });
}
