/** Entry of pages that show an ECG only: no image code is fetched. */
import "./css/ecg.css";
import { boot } from "./boot";
import { bootEcg } from "./ecg/reading";

boot(bootEcg);
