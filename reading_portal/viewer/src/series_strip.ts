/** The strip of series: current study first, priors below, later studies last; click, drag or keyboard brings one into a viewport. */
import type { DisplaySet } from "./display_sets";
import { dateOf, sideOf } from "./imaging_words";
import type { Prior } from "./manifest";
import { word, type WordKey } from "./words";

export const DRAG_TYPE = "application/x-display-set";
const THUMBNAIL = "?viewport=128,128&quality=60";

export interface StripListener {
  chosen(displaySet: DisplaySet): void;
  priorWanted(prior: Prior): void;
}

export class SeriesStrip {
  private readonly cards = new Map<string, HTMLButtonElement>();
  private readonly priorCards = new Map<string, HTMLElement>();

  constructor(private readonly strip: HTMLElement, private readonly listener: StripListener) {
    strip.setAttribute("role", "listbox");
    strip.setAttribute("aria-label", word("series"));
  }

  fill(displaySets: DisplaySet[], priors: Prior[]): void {
    for (const displaySet of displaySets) this.strip.append(this.card(displaySet));
    for (const [name, studies] of groupsOf(priors)) {
      this.strip.append(heading(word(name)), ...studies.map((study) => this.priorCard(study)));
    }
  }

  /** Put an opened prior's series where its card stood. */
  openPrior(prior: Prior, displaySets: DisplaySet[]): void {
    const place = this.priorCards.get(prior.study_instance_uid);
    place?.replaceChildren(...displaySets.map((displaySet) => this.card(displaySet)));
    place?.classList.add("is-open");
  }

  /** Mark what is on the screen (numbers of viewports) and how much of it is lossless. */
  mark(shown: Map<string, number[]>, active: string | undefined): void {
    for (const [id, card] of this.cards) {
      card.classList.toggle("is-shown", shown.has(id));
      card.classList.toggle("is-active", id === active);
      card.setAttribute("aria-selected", String(id === active));
    }
    if (active) this.cards.get(active)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  progress(displaySet: DisplaySet, loaded: number): void {
    const bar = this.cards.get(displaySet.id)?.querySelector<HTMLElement>(".progress i");
    if (!bar) return;
    bar.style.width = `${(loaded / Math.max(1, displaySet.frames.length)) * 100}%`;
    bar.parentElement!.title = word("prefetch", loaded, displaySet.frames.length);
  }

  private card(displaySet: DisplaySet): HTMLButtonElement {
    const card = document.createElement("button");
    card.type = "button";
    card.className = "series-card";
    card.draggable = true;
    card.dataset["displaySet"] = displaySet.id;
    card.setAttribute("role", "option");
    const middle = displaySet.frames[displaySet.frames.length >> 1];
    const picture = document.createElement("img");
    picture.alt = "";
    picture.loading = "lazy";
    picture.decoding = "async";
    picture.draggable = false;
    picture.addEventListener("error", () => card.classList.add("has-no-picture"));
    if (middle) picture.src = middle.renderedUrl + THUMBNAIL;
    else card.classList.add("has-no-picture");
    card.append(picture, caption(displaySet), progressBar());
    card.addEventListener("click", () => this.listener.chosen(displaySet));
    card.addEventListener("dragstart", (event) => event.dataTransfer?.setData(DRAG_TYPE, displaySet.id));
    this.cards.set(displaySet.id, card);
    return card;
  }

  private priorCard(prior: Prior): HTMLElement {
    const place = document.createElement("div");
    place.className = "prior-study";
    const card = document.createElement("button");
    card.type = "button";
    card.className = "prior-card";
    card.append(line("strong", `${dateOf(prior.study_date)} ${prior.modality}`), line("span", prior.description));
    card.addEventListener("click", () => this.listener.priorWanted(prior));
    place.append(card);
    this.priorCards.set(prior.study_instance_uid, place);
    return place;
  }
}

/** Other studies under what they are to the one that is read; no heading stands over nothing. */
export function groupsOf(others: Prior[]): [WordKey, Prior[]][] {
  const groups: [WordKey, Prior[]][] = [["priors", others.filter((study) => !study.is_later)],
    ["later_exams", others.filter((study) => study.is_later)]];
  return groups.filter(([, studies]) => studies.length);
}

function caption(displaySet: DisplaySet): HTMLElement {
  const box = document.createElement("span");
  box.className = "caption";
  const count = displaySet.frames.length;
  const name = [displaySet.seriesNumber ?? "", displaySet.description || displaySet.modality].join(" ").trim();
  const side = [sideOf(displaySet.laterality), displaySet.view].filter(Boolean).join(" ");
  box.append(line("strong", side && count === 1 ? `${side} ${name}` : name),
    line("span", `${displaySet.modality} · ${word(displaySet.isMultiFrame ? "frames" : "images", count)}`));
  return box;
}

function progressBar(): HTMLElement {
  const bar = document.createElement("span");
  bar.className = "progress";
  bar.append(document.createElement("i"));
  return bar;
}

function heading(content: string): HTMLElement {
  return line("h3", content);
}

function line(tag: string, content: string): HTMLElement {
  const element = document.createElement(tag);
  element.textContent = content;
  return element;
}
