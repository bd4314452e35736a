/** Entry of the reading page: boots images or the ECG, whichever the page holds. */
import "./css/viewer.css";
import "./css/ecg.css";
import { readPage } from "./page";
import { speak } from "./words";

const section = document.getElementById("viewer");
if (section) {
  const page = readPage(section);
  speak(page.language);
  const booted = page.kind === "ecg"
    ? import("./ecg/reading").then(({ bootEcg }) => bootEcg(page))
    : import("./images").then(({ bootImages }) => bootImages(page));
  booted.catch((error: unknown) => {
    section.classList.add("has-failed");
    console.error("viewer", error);
  });
}
