/** Entry of the reading page: images or the ECG, whichever the page holds; each fetches only its own code. */
import "./css/viewer.css";
import "./css/ecg.css";
import { boot } from "./boot";

boot(async (page) => {
  if (page.kind === "ecg") await (await import("./ecg/reading")).bootEcg(page);
  else await (await import("./images")).bootImages(page);
});
