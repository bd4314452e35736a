/** The toolbar: every command of the keyboard that a mouse or finger wants too. */
import { ICONS, type IconName } from "./icons";
import { word, type WordKey } from "./words";

export interface ToolbarButton {
  icon: IconName;
  word: WordKey;
  key: string;
  run: () => void;
  isOn?: () => boolean;
  group: number;
}

export class Toolbar {
  private readonly buttons: [HTMLButtonElement, ToolbarButton][] = [];
  readonly presets: HTMLSelectElement;

  constructor(bar: HTMLElement, rows: ToolbarButton[]) {
    bar.setAttribute("role", "toolbar");
    let group = -1;
    let box = bar;
    for (const row of rows) {
      if (row.group !== group) {
        group = row.group;
        box = bar.appendChild(document.createElement("div"));
        box.className = "tool-group";
      }
      box.append(this.button(row));
    }
    this.presets = bar.appendChild(document.createElement("select"));
    this.presets.className = "presets";
    this.presets.title = word("presets");
    this.presets.setAttribute("aria-label", word("presets"));
  }

  refresh(): void {
    for (const [button, row] of this.buttons) if (row.isOn) button.setAttribute("aria-pressed", String(row.isOn()));
  }

  private button(row: ToolbarButton): HTMLButtonElement {
    const button = document.createElement("button");
    button.type = "button";
    button.title = `${word(row.word)} (${row.key})`;
    button.setAttribute("aria-label", word(row.word));
    button.innerHTML = ICONS[row.icon];
    // Keep the focus where it was: in the viewport or in the middle of a sentence.
    button.addEventListener("mousedown", (event) => event.preventDefault());
    button.addEventListener("click", () => { row.run(); this.refresh(); });
    this.buttons.push([button, row]);
    return button;
  }
}
