/** Entry of the reading page: images or the ECG, whichever the page holds; each fetches only its own code. */
import "./css/viewer.css";
import "./css/ecg.css";
import { boot } from "./boot";
import { drawFirstFrame } from "./first_frame";
import { firstPicturePainted } from "./first_picture";

boot(async (page) => {
  if (page.kind === "ecg") await (await import("./ecg/reading")).bootEcg(page);
  else {
    await firstPicturePainted(page.section, drawFirstFrame(page.section));
    await (await import("./images")).bootImages(page);
  }
});
