/** The overlay of shortcuts (`?`): every action with its keys, each of which can be changed. */
import { ACTION_NAMES, GROUPS, actionOf, titleOf, type ActionName } from "./actions";
import { keyOf, printed } from "./keyboard";
import { mayBeChosen, type Shortcuts } from "./shortcuts";
import { word } from "./words";

export class Help {
  private readonly panel: HTMLElement;
  private readonly said: HTMLElement;
  private readonly lists: HTMLElement;
  private waitsFor: ActionName | undefined;
  private cameFrom: HTMLElement | undefined;

  /** `changed` keeps the keys and answers whether they are kept. */
  constructor(section: HTMLElement, private readonly shortcuts: Shortcuts, private readonly changed: () => Promise<boolean>) {
    this.panel = section.appendChild(document.createElement("div"));
    this.panel.className = "viewer-help";
    this.panel.setAttribute("role", "dialog");
    this.panel.setAttribute("aria-label", word("action_help"));
    this.panel.tabIndex = -1;
    this.panel.hidden = true;
    const head = this.panel.appendChild(document.createElement("header"));
    const title = head.appendChild(document.createElement("h2"));
    title.textContent = word("action_help");
    this.said = head.appendChild(document.createElement("p"));
    this.said.setAttribute("role", "status");
    head.append(this.button(word("keys_reset"), () => { this.shortcuts.reset(); void this.keep(word("keys_are_reset")); }),
      this.button(word("close"), () => this.close()));
    this.lists = this.panel.appendChild(document.createElement("div"));
    this.lists.className = "key-groups";
    this.panel.addEventListener("keydown", (event) => this.pressed(event));
  }

  get isOpen(): boolean {
    return !this.panel.hidden;
  }

  toggle(): void {
    if (this.isOpen) return this.close();
    this.cameFrom = document.activeElement as HTMLElement;
    this.say(word("keys_how"));
    this.draw();
    this.panel.hidden = false;
    this.panel.focus();
  }

  close(): void {
    this.waitsFor = undefined;
    this.panel.hidden = true;
    this.cameFrom?.focus({ preventScroll: true });
  }

  private draw(): void {
    this.lists.replaceChildren(...GROUPS.map((group) => {
      const part = document.createElement("section");
      const title = part.appendChild(document.createElement("h3"));
      title.textContent = word(group);
      const list = part.appendChild(document.createElement("dl"));
      for (const name of ACTION_NAMES.filter((each) => actionOf(each).group === group)) list.append(...this.row(name));
      return part;
    }));
  }

  private row(name: ActionName): [HTMLElement, HTMLElement] {
    const meaning = document.createElement("dt");
    meaning.textContent = titleOf(name);
    const keys = document.createElement("dd");
    const change = this.button("", () => this.waitFor(name));
    change.className = "key-caps";
    change.dataset["action"] = name;
    change.classList.toggle("is-own", this.shortcuts.isOwn(name));
    const caps = this.shortcuts.keysOf(name).map(printed);
    change.setAttribute("aria-label", word("keys_change", titleOf(name), caps.join(" ") || "–"));
    change.append(...(caps.length ? caps : ["–"]).map((cap) => {
      const element = document.createElement("kbd");
      element.textContent = cap;
      return element;
    }));
    keys.append(change);
    return [meaning, keys];
  }

  private waitFor(name: ActionName): void {
    this.waitsFor = name;
    for (const each of this.lists.querySelectorAll<HTMLElement>(".key-caps")) each.classList.toggle("is-waiting", each.dataset["action"] === name);
    this.say(word("keys_press", titleOf(name)));
  }

  private pressed(event: KeyboardEvent): void {
    const key = keyOf(event);
    if (!key) return;
    if (!this.waitsFor) {
      const asked = this.shortcuts.actionOf(key);
      if (key !== "Escape" && asked !== "help" && asked !== "back") return;
      event.preventDefault();
      event.stopPropagation();
      return this.close();
    }
    event.preventDefault();
    event.stopPropagation();
    const name = this.waitsFor;
    if (key === "Escape" && name !== "back") {
      this.waitsFor = undefined;
      this.draw();
      this.focus(name);
      return this.say(word("keys_how"));
    }
    if (!mayBeChosen(key)) return this.say(word("keys_taken", printed(key)));
    this.waitsFor = undefined;
    const loser = this.shortcuts.assign(name, key);
    void this.keep(loser ? word("keys_moved", printed(key), titleOf(name), titleOf(loser)) : word("keys_set", printed(key), titleOf(name)), name);
  }

  private async keep(sentence: string, name?: ActionName): Promise<void> {
    this.draw();
    if (name) this.focus(name);
    this.say(await this.changed() ? sentence : word("keys_not_kept"));
  }

  private focus(name: ActionName): void {
    this.lists.querySelector<HTMLElement>(`[data-action="${name}"]`)?.focus();
  }

  private say(sentence: string): void {
    this.said.textContent = sentence;
  }

  private button(text: string, run: () => void): HTMLButtonElement {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", run);
    return button;
  }
}
