/** Which key does what for this reader: the table's keys, and where she chose others, hers; kept on the server. */
import { ACTION_NAMES, actionOf, type ActionName } from "./actions";
import { fetchJson, sendJson, type Page } from "./page";

/** Action → keys, only where they differ from the table's. */
export type OwnKeys = Partial<Record<ActionName, string[]>>;

const ADDRESS = "/api/viewer/shortcuts";
/** Keys of the page around the images, and of browsers: they never reach the viewer, or not only it. */
const TAKEN = new Set(["F2", "F4", "F5", "F11", "F12", "Tab", "Shift+Tab", "Enter", "Ctrl+Enter", "Ctrl+Shift+Enter", "Alt+W", "Ctrl+W", "Ctrl+T",
  "Ctrl+N", "Ctrl+R", "Ctrl+L", "Ctrl+P", "Ctrl+Shift+T", "Ctrl+Shift+N", "Alt+F4", "Alt+ArrowLeft", "Alt+ArrowRight"]);

export class Shortcuts {
  constructor(private own: OwnKeys = {}) {}

  keysOf(name: ActionName): string[] {
    return this.own[name] ?? actionOf(name).keys;
  }

  actionOf(key: string): ActionName | undefined {
    return ACTION_NAMES.find((name) => this.keysOf(name).includes(key));
  }

  isOwn(name: ActionName): boolean {
    return !!this.own[name];
  }

  /** Give the action this key alone; answers from which other action it was taken, which keeps its other keys. */
  assign(name: ActionName, key: string): ActionName | undefined {
    const before = this.actionOf(key);
    if (before && before !== name) this.put(before, this.keysOf(before).filter((other) => other !== key));
    this.put(name, [key]);
    return before === name ? undefined : before;
  }

  reset(): void {
    this.own = {};
  }

  /** For the server: what differs from the table. */
  differences(): OwnKeys {
    return { ...this.own };
  }

  private put(name: ActionName, keys: string[]): void {
    if (keys.join(" ") === actionOf(name).keys.join(" ")) delete this.own[name];
    else this.own[name] = keys;
  }
}

export const mayBeChosen = (key: string): boolean => !TAKEN.has(key);

/** What the server keeps for her; the table's keys where it does not answer. Actions that are no more are let go. */
export async function fetchShortcuts(): Promise<Shortcuts> {
  try {
    const { keys } = await fetchJson<{ keys: Record<string, string[]> }>(ADDRESS);
    return new Shortcuts(Object.fromEntries(Object.entries(keys).filter(([name]) => (ACTION_NAMES as string[]).includes(name))));
  } catch (error) {
    console.warn("viewer: the reader's keys are not here", error);
    return new Shortcuts();
  }
}

export const keepShortcuts = (page: Page, shortcuts: Shortcuts): Promise<Response> =>
  sendJson("PUT", ADDRESS, { keys: shortcuts.differences() }, page.csrf);
