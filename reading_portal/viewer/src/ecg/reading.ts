/** The ECG page: controls, sheet, calipers and figures in place of the server's first drawing. */
import { Calipers, type Span } from "./calipers";
import { BANDS, type FilterChoice } from "./filters";
import { ECG_LAYOUTS, layOut, type EcgLayout, type Paper } from "./layouts";
import { calibrationPanel, isScreenCalibrated, pixelsPerMillimetre } from "./screen";
import { drawSheet, type DrawnSheet } from "./sheet";
import { durationOf, fetchRecording, leadNames, medianOf, rhythmOf, type Group, type Recording } from "./recording";
import { correctedText, deviceValues, spanText, type ReaderIntervals } from "./values";
import { listenToKeys, returnToText } from "../keyboard";
import type { Page } from "../page";
import { word } from "../words";

/** Fitting shrinks and enlarges within these shares of true size; beyond them the sheet scrolls. */
const SMALLEST = 0.7;
const LARGEST = 1.4;

export async function bootEcg(page: Page): Promise<void> {
  const recording = await fetchRecording(page.manifestUrl);
  new EcgReading(page.section, recording);
}

class EcgReading {
  private readonly bar = document.createElement("div");
  private readonly scroll = document.createElement("div");
  private readonly figures = document.createElement("div");
  private readonly sizeNote = document.createElement("span");
  private readonly readout = document.createElement("p");
  private readonly choices = {} as Record<"layout" | "speed" | "gain" | "band", HTMLSelectElement>;
  private readonly notch = document.createElement("input");
  private isTrueSize = isScreenCalibrated();
  private sheet: DrawnSheet | undefined;
  private calipers: Calipers | undefined;
  private readonly reader: ReaderIntervals = {};

  constructor(private readonly section: HTMLElement, private readonly recording: Recording) {
    this.bar.className = "ecg-toolbar";
    this.scroll.className = "ecg-scroll";
    this.scroll.tabIndex = 0;
    this.figures.className = "ecg-figures";
    this.buildBar();
    this.buildFigures();
    section.querySelector(".ecg-first")?.remove();
    section.append(this.bar, this.scroll, this.figures);
    this.draw();
    section.classList.add("is-ready");
    new ResizeObserver(() => this.size()).observe(this.scroll);
    this.listen();
    this.exposeHooks();
  }

  private get paper(): Paper {
    return { speed: Number(this.choices.speed.value) as Paper["speed"], gain: Number(this.choices.gain.value) as Paper["gain"],
      layout: this.choices.layout.value as EcgLayout };
  }

  private get group(): Group | undefined {
    return this.paper.layout === "median" ? medianOf(this.recording) : rhythmOf(this.recording);
  }

  private draw(): void {
    const { group, paper } = this;
    this.sheet = this.calipers = undefined;
    if (!group?.leads.length) {
      const sentence = document.createElement("p");
      sentence.className = "ecg-empty";
      sentence.textContent = word(paper.layout === "median" ? "ecg_no_median" : "ecg_none");
      this.scroll.replaceChildren(sentence);
      return;
    }
    this.say(undefined);
    const band = BANDS[this.choices.band.value]!;
    const choice: FilterChoice = { ...band, notch: this.notch.checked };
    this.sheet = drawSheet(group, paper, choice, this.noteFor(group, choice), this.room(group));
    this.calipers = new Calipers(this.sheet, paper, (span) => this.say(span));
    this.scroll.replaceChildren(this.sheet.element);
    this.size();
  }

  private noteFor(group: Group, choice: FilterChoice): string {
    const own = group.filters ?? {};
    const acquired = own.low_hz || own.high_hz ? word("ecg_acquired", own.low_hz ?? "?", own.high_hz ?? "?") : "";
    const shown = choice.lowPassHz ? `${choice.highPassHz}–${choice.lowPassHz} Hz` : word("ecg_band_none");
    return [`${this.paper.speed} mm/s`, `${this.paper.gain} mm/mV`, shown, choice.notch ? word("ecg_notch") : "", acquired,
      `${group.sampling_frequency} Hz`].filter(Boolean).join("  ·  ");
  }

  /** True millimetres, or as wide as the page allows within reason; how much it was scaled is always said. */
  private size(): void {
    if (!this.sheet) return;
    const perMillimetre = this.perMillimetre(this.sheet.width);
    this.sheet.element.style.width = `${this.sheet.width * perMillimetre}px`;
    this.sheet.element.style.height = `${this.sheet.height * perMillimetre}px`;
    const percent = Math.round((perMillimetre / pixelsPerMillimetre()) * 100);
    const isExact = percent === 100 && isScreenCalibrated();
    this.sizeNote.textContent = isExact ? word("ecg_calibrated")
      : percent === 100 ? word("ecg_not_calibrated_screen") : word("ecg_scaled", percent);
  }

  private perMillimetre(width: number): number {
    const real = pixelsPerMillimetre();
    if (this.isTrueSize) return real;
    const fitted = (this.scroll.clientWidth - 2) / width;
    return Math.min(LARGEST * real, Math.max(SMALLEST * real, fitted));
  }

  /** Millimetres of paper that fit into the window's height at the size that the sheet will have. */
  private room(group: Group): number {
    const width = layOut(leadNames(group), durationOf(group), this.paper).width;
    return (this.scroll.clientHeight - 2) / this.perMillimetre(width);
  }

  private say(span: Span | undefined): void {
    const isCalibrated = this.group?.leads.every(({ calibrated }) => calibrated) ?? false;
    const corrected = correctedText(this.reader, this.recording.measurements);
    const lines = [span ? spanText(span, isCalibrated) : word("ecg_caliper_how"), corrected ?? ""];
    this.readout.replaceChildren(...lines.filter(Boolean).map((content, index) => {
      const line = document.createElement("span");
      line.className = index ? "ecg-qtc" : "ecg-span";
      line.textContent = content;
      return line;
    }));
  }

  private take(kind: "qt" | "rr"): void {
    const span = this.calipers?.span;
    if (!span) return;
    this.reader[kind] = span.ms;
    this.say(span);
  }

  private buildBar(): void {
    const select = (name: keyof EcgReading["choices"], label: string, options: [string, string][]): void => {
      const element = document.createElement("select");
      element.title = label;
      element.setAttribute("aria-label", label);
      element.append(...options.map(([value, content]) => new Option(content, value)));
      element.addEventListener("change", () => this.draw());
      this.choices[name] = element;
      this.bar.append(element);
    };
    select("layout", word("ecg_layout"), ECG_LAYOUTS.map((layout) => [layout, layout === "median" ? word("ecg_median") : layout]));
    select("speed", word("ecg_speed"), [["25", "25 mm/s"], ["50", "50 mm/s"]]);
    select("gain", word("ecg_gain"), [["10", "10 mm/mV"], ["5", "5 mm/mV"], ["20", "20 mm/mV"]]);
    select("band", word("ecg_band"), [["none", word("ecg_band_none")], ["150", "0.05–150 Hz"], ["40", "0.5–40 Hz"]]);
    this.notch.type = "checkbox";
    this.notch.addEventListener("change", () => this.draw());
    const label = document.createElement("label");
    label.append(this.notch, word("ecg_notch"));
    this.bar.append(label, this.button(word("ecg_march"), () => this.calipers?.march()),
      this.button(`${word("ecg_fit")} / ${word("ecg_true_size")}`, () => { this.isTrueSize = !this.isTrueSize; this.size(); }),
      this.button(word("ecg_calibrate"), () => this.section.append(calibrationPanel(() => { this.isTrueSize = true; this.size(); }))));
    this.sizeNote.className = "ecg-size";
    this.bar.append(this.sizeNote);
  }

  private buildFigures(): void {
    const list = document.createElement("dl");
    for (const [name, value] of deviceValues(this.recording)) {
      const term = document.createElement("dt");
      term.textContent = name;
      const meaning = document.createElement("dd");
      meaning.textContent = value;
      list.append(term, meaning);
    }
    this.readout.className = "ecg-readout";
    this.figures.append(list, this.readout,
      this.button(word("ecg_take_qt"), () => this.take("qt")), this.button(word("ecg_take_rr"), () => this.take("rr")));
    const statements = (this.recording.statements ?? []).filter(Boolean);
    if (statements.length) {
      const line = document.createElement("p");
      line.className = "ecg-statements";
      line.textContent = `${word("ecg_statements")}：${statements.join("；")}`;
      this.figures.append(line);
    }
  }

  private button(content: string, run: () => void): HTMLButtonElement {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = content;
    button.addEventListener("mousedown", (event) => event.preventDefault());
    button.addEventListener("click", run);
    return button;
  }

  private listen(): void {
    const step = (name: keyof EcgReading["choices"]) => () => {
      const element = this.choices[name];
      element.selectedIndex = (element.selectedIndex + 1) % element.options.length;
      this.draw();
    };
    const nudge = (direction: number) => () => this.calipers?.nudge(direction * 0.1);
    const commands: Record<string, () => void> = {
      G: step("layout"), S: step("speed"), V: step("gain"), B: step("band"),
      N: () => { this.notch.checked = !this.notch.checked; this.draw(); },
      M: () => this.calipers?.march(), Q: () => this.take("qt"), R: () => this.take("rr"),
      ArrowLeft: nudge(-1), ArrowRight: nudge(1), Delete: () => this.calipers?.clear(), Escape: returnToText,
    };
    listenToKeys(this.section, (key) => {
      const command = commands[key];
      command?.();
      return !!command;
    });
    document.addEventListener("viewer:focus", () => this.scroll.focus({ preventScroll: true }));
  }

  private exposeHooks(): void {
    const hooks = {
      T: { firstImage: Math.round(performance.now()) },
      caliper: () => this.calipers?.span,
      sheet: () => this.sheet && { width: this.sheet.width, height: this.sheet.height, cells: this.sheet.cells },
      paper: () => this.paper,
      intervals: () => ({ ...this.reader }),
      /** Client coordinates of a point of the paper in millimetres. */
      screen: (x: number, y: number) => {
        const at = new DOMPoint(x, y).matrixTransform(this.sheet!.element.getScreenCTM()!);
        return { x: at.x, y: at.y };
      },
    };
    (window as unknown as { readingViewer: typeof hooks }).readingViewer = hooks;
  }
}
