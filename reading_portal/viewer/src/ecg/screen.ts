/** How many pixels this screen needs for a millimetre: measured once per device with a bank card. */
import { word } from "../words";

const KEY = "viewer.pxPerMm";
const CARD_MM = 85.6;
const CSS_PX_PER_MM = 96 / 25.4;

export const isScreenCalibrated = (): boolean => Number(localStorage.getItem(KEY)) > 0;
export const pixelsPerMillimetre = (): number => Number(localStorage.getItem(KEY)) || CSS_PX_PER_MM;

/** A panel with a box to match to a card; calls back when saved. */
export function calibrationPanel(saved: () => void): HTMLElement {
  const panel = document.createElement("div");
  panel.className = "ecg-calibration";
  const how = document.createElement("p");
  how.textContent = word("ecg_calibrate_how");
  const card = document.createElement("div");
  card.className = "card";
  card.textContent = "85.6 mm";
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = "2";
  slider.max = "12";
  slider.step = "0.01";
  slider.value = String(pixelsPerMillimetre());
  const fit = (): void => {
    card.style.width = `${Number(slider.value) * CARD_MM}px`;
    card.style.height = `${Number(slider.value) * 54}px`;
  };
  slider.addEventListener("input", fit);
  fit();
  const save = document.createElement("button");
  save.type = "button";
  save.textContent = word("ecg_save");
  save.addEventListener("click", () => {
    localStorage.setItem(KEY, slider.value);
    panel.remove();
    saved();
  });
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = word("close");
  close.addEventListener("click", () => panel.remove());
  panel.append(how, slider, card, save, close);
  return panel;
}
