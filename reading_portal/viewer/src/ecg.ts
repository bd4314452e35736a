/** Entry of pages that show an ECG only: no image code is fetched. */
import "./css/ecg.css";
import { bootEcg } from "./ecg/reading";
import { readPage } from "./page";
import { speak } from "./words";

const section = document.getElementById("viewer");
if (section) {
  const page = readPage(section);
  speak(page.language);
  bootEcg(page).catch((error: unknown) => {
    section.classList.add("has-failed");
    console.error("viewer", error);
  });
}
