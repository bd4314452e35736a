/** Hangings edited in the page: what is on the screen is saved for studies like this one; what was saved is listed. */
import { regionOf, REGIONS } from "./body_parts";
import type { Cell, SavedHanging } from "./hanging";
import { sideOf } from "./imaging_words";
import { columnsOf, type Layout } from "./layouts";
import type { SavedHangings } from "./saved_hangings";
import type { Viewer } from "./viewer";
import { word, type WordKey } from "./words";

const ANSWERS: Record<number, WordKey> = { 403: "hanging_refused", 409: "hanging_changed" };

export class HangingPanel {
  private readonly panel: HTMLElement;
  private readonly said: HTMLElement;
  private readonly body: HTMLElement;
  private cameFrom: HTMLElement | undefined;

  constructor(section: HTMLElement, private readonly viewer: Viewer, private readonly saved: SavedHangings) {
    this.panel = section.appendChild(make("div", "hanging-panel"));
    this.panel.setAttribute("role", "dialog");
    this.panel.setAttribute("aria-label", word("action_hangings"));
    this.panel.tabIndex = -1;
    this.panel.hidden = true;
    const head = this.panel.appendChild(make("header"));
    head.append(make("h2", "", word("action_hangings")), button(word("close"), () => this.close()));
    this.said = this.panel.appendChild(make("p", "panel-said"));
    this.said.setAttribute("role", "status");
    this.body = this.panel.appendChild(make("div"));
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
  }

  toggle(): void {
    if (!this.panel.hidden) return this.close();
    this.cameFrom = document.activeElement as HTMLElement;
    this.said.textContent = word("hangings_how");
    this.draw();
    this.panel.hidden = false;
    this.body.querySelector<HTMLElement>("input")?.focus();
  }

  private close(): void {
    this.panel.hidden = true;
    this.cameFrom?.focus({ preventScroll: true });
  }

  private draw(): void {
    this.body.replaceChildren(this.form(), make("h3", "", word("hangings_saved")), this.list());
  }

  private form(): HTMLElement {
    const { layout, cells, facts } = this.viewer.arrangement();
    const form = document.createElement("form");
    const name = make("input") as HTMLInputElement;
    name.maxLength = 64;
    name.required = true;
    name.value = [facts.modality, facts.bodyPart && regionWord(facts.bodyPart), sideOf(facts.laterality)].filter(Boolean).join(" ");
    const views = facts.views.join(", ");
    const any = (is: string, said: string): [string, string][] => (is ? [[is, said], ["", word("hanging_any")]] : [["", word("hanging_any")]]);
    const modality = choice(any(facts.modality, facts.modality));
    const bodyPart = choice(any(facts.bodyPart, facts.bodyPart && regionWord(facts.bodyPart)));
    // Which side it is matters seldom: it is asked for, not presumed.
    const laterality = choice(any(facts.laterality, sideOf(facts.laterality)).reverse());
    const view = choice(any(views, views).reverse());
    const owner = choice([["", word("hanging_mine")], ["department", word("hanging_department")]]);
    owner.options[1]!.disabled = !this.saved.mayHangForDepartment;
    if (!this.saved.mayHangForDepartment) owner.title = word("hanging_department_refused");
    const fields: [WordKey, HTMLElement][] = [["hanging_name", name], ["hanging_modality", modality], ["hanging_body_part", bodyPart],
      ["hanging_laterality", laterality], ["hanging_views", view], ["hanging_for", owner]];
    const save = button(word("hanging_save"), () => undefined);
    save.type = "submit";
    save.className = "primary";
    form.append(make("h3", "", word("hangings_on_screen")), chart(layout, cells), ...fields.map(([label, field]) => {
      const line = make("label", "", word(label));
      line.append(field);
      return line;
    }), save);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.done(this.saved.save({ name: name.value, forDepartment: owner.value !== "", modality: modality.value, bodyPart: bodyPart.value,
        laterality: laterality.value, views: view.value ? facts.views : [], layout, cells }), word("hanging_saved", name.value));
    });
    return form;
  }

  private list(): HTMLElement {
    if (!this.saved.all.length) return make("p", "dim", word("hangings_none"));
    const list = make("ul");
    for (const one of this.saved.all) {
      const line = list.appendChild(make("li"));
      const words = make("div");
      words.append(make("strong", "", one.name), make("span", "dim", describe(one)));
      line.append(chart(one.layout, one.cells), words,
        button(word("hanging_use"), () => { this.close(); void this.viewer.hangAgain(one); }));
      if (one.for_department && !this.saved.mayHangForDepartment) continue;
      line.append(button(word("hanging_discard"), () => void this.done(this.saved.discard(one.id), word("hanging_discarded", one.name))));
    }
    return list;
  }

  private async done(answer: Promise<number>, sentence: string): Promise<void> {
    const status = await answer;
    this.viewer.useSaved(this.saved.all);
    this.draw();
    const isDone = status >= 200 && status < 300;
    this.said.textContent = isDone ? sentence : word(ANSWERS[status] ?? "hanging_failed");
    this.said.classList.toggle("is-bad", !isDone);
    this.panel.focus();
  }
}

/** A small picture of the screen: what is looked for in each cell. */
function chart(layout: Layout, cells: (Cell | null)[]): HTMLElement {
  const picture = make("div", "hanging-chart");
  picture.style.setProperty("--columns", String(columnsOf(layout)));
  for (const cell of cells) {
    const box = picture.appendChild(make("span", cell ? `is-${cell.standing}` : "is-empty"));
    box.textContent = cell ? shortOf(cell) : "";
    box.title = cell ? longOf(cell) : word("hanging_empty");
  }
  return picture;
}

const shortOf = (cell: Cell): string => [sideOf(cell.laterality), cell.view, cell.plane && word(`plane_${cell.plane}` as WordKey)]
  .filter(Boolean).join(" ") || cell.modality;
const longOf = (cell: Cell): string => [word(cell.standing), cell.modality, shortOf(cell), cell.description].filter(Boolean).join(" · ");

function describe(one: SavedHanging): string {
  return [one.for_department ? word("hanging_department") : word("hanging_mine"), one.modality || word("hanging_any"),
    one.body_part && regionWord(one.body_part), sideOf(one.laterality), one.views.join(", "), one.layout.replace("x", " × ")].filter(Boolean).join(" · ");
}

const regionWord = (part: string): string =>
  (REGIONS as readonly string[]).includes(part) ? word(`region_${part}` as WordKey) : regionOf(part) ?? part;

function choice(options: [value: string, said: string][]): HTMLSelectElement {
  const select = document.createElement("select");
  select.append(...options.map(([value, said]) => new Option(said, value)));
  return select;
}

function make(tag: string, className = "", content = ""): HTMLElement {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content) element.textContent = content;
  return element;
}

function button(text: string, run: () => void): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", run);
  return element;
}
