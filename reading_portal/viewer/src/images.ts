/** Boots the image viewer on the server-rendered page: network first, WebGL second. */
import { commandsFor, isOn, type Commands } from "./commands";
import { startCornerstone } from "./cornerstone";
import { HangingPanel } from "./hanging_panel";
import { Help } from "./help";
import { exposeHooks } from "./hooks";
import { listenToKeys } from "./keyboard";
import { LayoutPicker } from "./layout_picker";
import { fetchManifest } from "./manifest";
import type { Page } from "./page";
import { presetsFor } from "./presets";
import { SavedHangings } from "./saved_hangings";
import { fetchShortcuts, keepShortcuts } from "./shortcuts";
import { Toast } from "./toast";
import { Toolbar } from "./toolbar";
import { ToolBox } from "./tools";
import { Viewer } from "./viewer";
import { word } from "./words";

export async function bootImages(page: Page): Promise<void> {
  const manifest = fetchManifest(page.manifestUrl);
  manifest.catch(() => undefined);
  const chosenKeys = fetchShortcuts();
  const hangings = new SavedHangings(page);
  const savedHangings = hangings.fetch();
  const { section } = page;
  const { bar, strip, grid } = furnish(section);
  const engine = startCornerstone();
  let toolbar: Toolbar | undefined;
  const tools = new ToolBox(() => toolbar?.refresh());
  const toast = new Toast(section);
  const viewer: Viewer = new Viewer(page, engine, grid, strip, () => { if (toolbar) fillPresets(toolbar, viewer); },
    (sentence) => toast.say(sentence), lateMark(section));
  viewer.mark("script");
  grid.addEventListener("viewport:enabled", (event) => tools.add((event as CustomEvent<string>).detail));
  const shortcuts = await chosenKeys;
  const help = new Help(section, shortcuts, async () => {
    toolbar?.name();
    return keepShortcuts(page, shortcuts).then((answer) => answer.ok, () => false);
  });
  const layouts = new LayoutPicker(section, () => viewer.grid.layout, (layout) => viewer.setLayout(layout));
  const panel = new HangingPanel(section, viewer, hangings);
  const commands: Commands = commandsFor(viewer, tools, { section, help, layouts, hangings: panel });
  toolbar = new Toolbar(bar, shortcuts, (name) => commands[name](), (name) => isOn(name, viewer, tools));
  listenToKeys(section, (key) => {
    const name = shortcuts.actionOf(key);
    // Elsewhere on the page the question mark asks for the page's own keys.
    if (!name || (name === "help" && !section.contains(document.activeElement))) return false;
    commands[name]();
    toolbar?.refresh();
    return true;
  });
  document.addEventListener("viewer:focus", () => viewer.grid.activate(viewer.grid.active));
  exposeHooks(viewer, tools);
  const study = await manifest;
  viewer.mark("manifest");
  await savedHangings;
  await viewer.start(study, hangings.all);
}

/** Toolbar, strip and grid around the viewport that the server has drawn, without moving it on the screen. */
function furnish(section: HTMLElement): { bar: HTMLElement; strip: HTMLElement; grid: HTMLElement } {
  const part = (className: string): HTMLElement => {
    const found = section.querySelector<HTMLElement>(`.${className}`);
    if (found) return found;
    const element = document.createElement("div");
    element.className = className;
    return section.appendChild(element);
  };
  const [bar, strip, grid] = [part("viewer-toolbar"), part("viewer-strip"), part("viewer-grid")];
  for (const cell of section.querySelectorAll(":scope > .viewport")) grid.append(cell);
  section.classList.add("is-ready");
  return { bar, strip, grid };
}

/** Says that something measured is not on the server yet; empty while everything is. */
function lateMark(section: HTMLElement): (sentence: string) => void {
  const mark = section.appendChild(document.createElement("div"));
  mark.className = "viewer-late";
  mark.setAttribute("role", "status");
  return (sentence) => { mark.textContent = sentence; };
}

function fillPresets(toolbar: Toolbar, viewer: Viewer): void {
  const { modality = "", bodyPart = "" } = viewer.grid.active?.displaySet ?? {};
  toolbar.refresh();
  const kind = `${modality}/${bodyPart}`;
  if (toolbar.presets.dataset["kind"] === kind) return;
  toolbar.presets.dataset["kind"] = kind;
  const options = presetsFor(modality, bodyPart).map((preset, index) => new Option(`${index + 1} ${word(preset.name)}`, String(index + 1)));
  toolbar.presets.replaceChildren(new Option(word("presets"), ""), ...options);
  toolbar.presets.onchange = () => {
    viewer.preset(Number(toolbar.presets.value));
    toolbar.presets.value = "";
    viewer.grid.activate(viewer.grid.active);
  };
}
