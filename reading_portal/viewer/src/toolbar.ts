/** Buttons for what a mouse or finger wants too: every action of the table that has an icon. */
import { ACTION_NAMES, actionOf, titleOf, type ActionName } from "./actions";
import { ICONS } from "./icons";
import { printed } from "./keyboard";
import type { Shortcuts } from "./shortcuts";
import { word } from "./words";

export class Toolbar {
  private readonly buttons: [HTMLButtonElement, ActionName][] = [];
  readonly presets: HTMLSelectElement;

  constructor(bar: HTMLElement, private readonly shortcuts: Shortcuts, private readonly run: (name: ActionName) => void,
    private readonly isOn: (name: ActionName) => boolean | undefined) {
    bar.setAttribute("role", "toolbar");
    let group = "";
    let box = bar;
    for (const name of ACTION_NAMES) {
      const action = actionOf(name);
      if (!action.icon) continue;
      if (action.group !== group) {
        group = action.group;
        box = bar.appendChild(document.createElement("div"));
        box.className = "tool-group";
      }
      box.append(this.button(name, ICONS[action.icon]));
    }
    this.presets = bar.appendChild(document.createElement("select"));
    this.presets.className = "presets";
    this.presets.title = word("presets");
    this.presets.setAttribute("aria-label", word("presets"));
    this.name();
  }

  refresh(): void {
    for (const [button, name] of this.buttons) {
      const on = this.isOn(name);
      if (on !== undefined) button.setAttribute("aria-pressed", String(on));
    }
  }

  /** Say beside each button which key does the same. */
  name(): void {
    for (const [button, name] of this.buttons) {
      const keys = this.shortcuts.keysOf(name).map(printed).join(", ");
      button.title = keys ? `${titleOf(name)} (${keys})` : titleOf(name);
    }
  }

  private button(name: ActionName, icon: string): HTMLButtonElement {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset["action"] = name;
    button.setAttribute("aria-label", titleOf(name));
    button.innerHTML = icon;
    // Keep the focus where it was: in the viewport or in the middle of a sentence.
    button.addEventListener("mousedown", (event) => event.preventDefault());
    button.addEventListener("click", () => { this.run(name); this.refresh(); });
    this.buttons.push([button, name]);
    return button;
  }
}
