/** The overlay of shortcuts (`?`). */
import { word, type WordKey } from "./words";

const ROWS: [keys: string, words: WordKey[]][] = [
  ["1…9", ["action_presets"]],
  ["↑ ↓ ← →", ["action_scroll"]],
  ["PgUp PgDn", ["action_page"]],
  ["Home End", ["action_ends"]],
  ["[ ]", ["action_previous_series", "action_next_series"]],
  ["W", ["tool_window"]],
  ["Z", ["tool_zoom"]],
  ["M", ["tool_magnify"]],
  ["L", ["tool_length"]],
  ["A", ["tool_angle"]],
  ["E", ["tool_ellipse"]],
  ["P", ["tool_probe"]],
  ["Del", ["action_delete"]],
  ["I", ["action_invert"]],
  ["R", ["action_rotate"]],
  ["H", ["action_flip"]],
  ["0", ["action_reset"]],
  ["Space", ["action_cine"]],
  ["G", ["action_layout"]],
  ["V", ["action_viewport"]],
  ["B", ["action_prior"]],
  ["Y", ["link_here"]],
  ["K", ["key_image"]],
  ["F", ["action_full"]],
  ["Esc", ["action_back"]],
  ["?", ["action_help"]],
];

export class Help {
  private readonly panel: HTMLElement;

  constructor(section: HTMLElement) {
    this.panel = section.appendChild(document.createElement("div"));
    this.panel.className = "viewer-help";
    this.panel.hidden = true;
    const list = document.createElement("dl");
    for (const [keys, words] of ROWS) {
      const term = document.createElement("dt");
      term.append(...keys.split(" ").map((key) => {
        const cap = document.createElement("kbd");
        cap.textContent = key;
        return cap;
      }));
      const meaning = document.createElement("dd");
      meaning.textContent = words.map((key) => word(key)).join(" / ");
      list.append(term, meaning);
    }
    const title = document.createElement("h2");
    title.textContent = word("action_help");
    this.panel.append(title, list);
    this.panel.addEventListener("click", () => this.close());
  }

  get isOpen(): boolean {
    return !this.panel.hidden;
  }

  toggle(): void {
    this.panel.hidden = !this.panel.hidden;
  }

  close(): void {
    this.panel.hidden = true;
  }
}
