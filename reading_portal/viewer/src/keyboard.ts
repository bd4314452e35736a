/** One key, one action. Typing in a report is never an action. */
const TEXT = "input, textarea, select, [contenteditable=''], [contenteditable='true']";
const MODIFIERS = new Set(["Control", "Alt", "Shift", "Meta", "AltGraph", "CapsLock", "Process", "Unidentified", "Dead"]);

/** Where the reader was writing, so that Escape can bring her back. */
let lastText: HTMLElement | undefined;

/** `run` does what the key is for, and answers whether it is for anything. */
export function listenToKeys(section: HTMLElement, run: (key: string) => boolean): void {
  document.addEventListener("focusin", (event) => {
    const target = event.target as HTMLElement;
    if (target.matches?.(TEXT) && !section.contains(target)) lastText = target;
  });
  document.addEventListener("keydown", (event) => {
    const key = keyOf(event);
    if (key && isForViewer(event) && run(key)) event.preventDefault();
  });
}

export function returnToText(): void {
  lastText?.focus();
}

export type Pressed = Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "altKey" | "shiftKey" | "metaKey">;

/**
 * How a key is written: L, Shift+L, Ctrl+ArrowUp, Space, ?. Letters count whatever CapsLock says, digits of the upper row
 * with Shift as the digit they stand on, other characters as what they write. Empty for a modifier alone and for ⌘.
 */
export function keyOf(event: Pressed): string {
  if (MODIFIERS.has(event.key) || event.metaKey) return "";
  const digit = /^Digit(\d)$/.exec(event.code)?.[1];
  const isLetter = /^\p{L}$/u.test(event.key);
  const isCharacter = event.key.length === 1 && !isLetter && event.key !== " " && !digit;
  const name = event.key === " " ? "Space" : digit ?? (isLetter ? event.key.toUpperCase() : event.key);
  return [event.ctrlKey && "Ctrl", event.altKey && "Alt", event.shiftKey && !isCharacter && "Shift", name].filter(Boolean).join("+");
}

const SIGNS: Record<string, string> = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", PageUp: "PgUp", PageDown: "PgDn",
  Escape: "Esc", Delete: "Del" };

/** The key as it is printed on the keyboard. */
export const printed = (key: string): string => key.split(/(?<=.)\+/).map((part) => SIGNS[part] ?? part).join(" + ");

function isForViewer(event: KeyboardEvent): boolean {
  if (event.isComposing || event.defaultPrevented) return false;
  const target = event.target as HTMLElement;
  if (target.closest?.(TEXT)) return false;
  // An open dialogue owns its keys; a focused button or link keeps space and enter.
  if (target.closest?.("dialog[open], [role=dialog], [role=menu]")) return false;
  const isControl = !!target.closest?.("button, a[href], summary, [role=button]");
  return !(isControl && (event.key === " " || event.key === "Enter"));
}
