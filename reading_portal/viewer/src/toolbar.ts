/** Buttons for what a mouse or finger wants too: every action of the table that has an icon. */
import { ACTION_NAMES, actionOf, titleOf, type ActionName, type Group } from "./actions";
import { ICONS } from "./icons";
import { printed } from "./keyboard";
import type { Shortcuts } from "./shortcuts";
import { word } from "./words";

/** Which groups leave a bar that is too narrow for all of them, the first one first. */
const LEAVING: Group[] = ["group_picture", "group_page", "group_slices", "group_screen", "group_comparing", "group_layouts", "group_measuring"];

export class Toolbar {
  private readonly buttons: [HTMLButtonElement, ActionName][] = [];
  private readonly groups = new Map<Group, HTMLElement>();
  private readonly rest: HTMLElement;
  private readonly more: HTMLButtonElement;
  readonly presets: HTMLSelectElement;

  constructor(private readonly bar: HTMLElement, private readonly shortcuts: Shortcuts, private readonly run: (name: ActionName) => void,
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
        this.groups.set(action.group, box);
      }
      box.append(this.button(name, ICONS[action.icon]));
    }
    this.presets = bar.appendChild(document.createElement("select"));
    this.presets.className = "presets";
    this.presets.title = word("presets");
    this.presets.setAttribute("aria-label", word("presets"));
    this.more = bar.appendChild(document.createElement("button"));
    this.more.type = "button";
    this.more.className = "more-tools";
    this.more.setAttribute("aria-label", word("more_tools"));
    this.more.title = word("more_tools");
    this.more.innerHTML = ICONS.more;
    this.rest = document.createElement("div");
    this.rest.className = "viewer-toolbar tool-rest";
    this.rest.hidden = true;
    bar.after(this.rest);
    this.more.addEventListener("mousedown", (event) => event.preventDefault());
    this.more.addEventListener("click", () => this.unfold(this.rest.hidden === true));
    document.addEventListener("pointerdown", ({ target }) => {
      if (!this.more.contains(target as Node) && !this.rest.contains(target as Node)) this.unfold(false);
    });
    this.name();
    new ResizeObserver(() => this.fit()).observe(bar);
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

  private unfold(isOpen: boolean): void {
    this.rest.hidden = !isOpen;
    this.more.setAttribute("aria-expanded", String(isOpen));
  }

  /** What does not fit stands behind one button: nothing is out of sight at the end of a bar that scrolls. */
  private fit(): void {
    this.unfold(false);
    for (const group of this.groups.values()) this.presets.before(group);
    this.more.hidden = true;
    for (const name of LEAVING) {
      if (this.bar.scrollWidth <= this.bar.clientWidth) return;
      this.more.hidden = false;
      const group = this.groups.get(name);
      if (group) this.rest.append(group);
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
