/** One key, one command. Typing in a report is never a command. */
export type Commands = Record<string, () => void>;

const TEXT = "input, textarea, select, [contenteditable=''], [contenteditable='true']";

/** Where the reader was writing, so that Escape can bring her back. */
let lastText: HTMLElement | undefined;

export function listenToKeys(section: HTMLElement, commands: Commands): void {
  document.addEventListener("focusin", (event) => {
    const target = event.target as HTMLElement;
    if (target.matches?.(TEXT) && !section.contains(target)) lastText = target;
  });
  document.addEventListener("keydown", (event) => {
    const command = commands[nameOf(event)];
    if (!command || !isForViewer(event, section)) return;
    event.preventDefault();
    command();
  });
}

export function returnToText(): void {
  lastText?.focus();
}

/** Letters count without shift; with Ctrl, Alt or ⌘ the browser or the page is meant. */
function nameOf(event: KeyboardEvent): string {
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function isForViewer(event: KeyboardEvent, section: HTMLElement): boolean {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return false;
  const target = event.target as HTMLElement;
  if (target.closest?.(TEXT)) return false;
  // An open dialogue owns its keys; a focused button or link elsewhere keeps space, enter and arrows.
  if (target.closest?.("dialog[open], [role=dialog], [role=menu]") && !section.contains(target)) return false;
  const isControl = !!target.closest?.("button, a[href], summary, [role=button]");
  return !(isControl && (event.key === " " || event.key === "Enter"));
}
