/** Boots the image viewer on the server-rendered page: network first, WebGL second. */
import { startCornerstone } from "./cornerstone";
import { Help } from "./help";
import { exposeHooks } from "./hooks";
import { listenToKeys, returnToText, type Commands } from "./keyboard";
import { fetchManifest } from "./manifest";
import type { Page } from "./page";
import { presetsFor } from "./presets";
import { Toast } from "./toast";
import { Toolbar, type ToolbarButton } from "./toolbar";
import { TOOLS, ToolBox, deleteMeasurements, type ToolName } from "./tools";
import { Viewer } from "./viewer";
import { word } from "./words";

export async function bootImages(page: Page): Promise<void> {
  const manifest = fetchManifest(page.manifestUrl);
  manifest.catch(() => undefined);
  const { bar, strip, grid } = furnish(page.section);
  const engine = startCornerstone();
  let toolbar: Toolbar | undefined;
  const tools = new ToolBox(() => toolbar?.refresh());
  const toast = new Toast(page.section);
  const viewer: Viewer = new Viewer(page, engine, grid, strip, () => { if (toolbar) fillPresets(toolbar, viewer); },
    (sentence) => toast.say(sentence));
  viewer.mark("script");
  const help = new Help(page.section);
  grid.addEventListener("viewport:enabled", (event) => tools.add((event as CustomEvent<string>).detail));
  toolbar = new Toolbar(bar, buttonsFor(viewer, tools, help));
  listenToKeys(page.section, commandsFor(page.section, viewer, tools, help));
  document.addEventListener("viewer:focus", () => viewer.grid.activate(viewer.grid.active));
  exposeHooks(viewer, tools);
  const study = await manifest;
  viewer.mark("manifest");
  await viewer.start(study);
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

function commandsFor(section: HTMLElement, viewer: Viewer, tools: ToolBox, help: Help): Commands {
  const { grid } = viewer;
  const pick = (name: ToolName) => () => tools.pick(tools.active === name ? "window" : name);
  const scroll = (delta: number) => () => grid.active.scroll(delta);
  const presets = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [String(index + 1), () => viewer.preset(index + 1)]));
  return {
    ...presets,
    ArrowDown: scroll(1), ArrowRight: scroll(1), ArrowUp: scroll(-1), ArrowLeft: scroll(-1),
    PageDown: scroll(10), PageUp: scroll(-10),
    Home: () => grid.active.scrollTo(0), End: () => grid.active.scrollTo((grid.active.displaySet?.frames.length ?? 1) - 1),
    "[": () => viewer.stepSeries(-1), "]": () => viewer.stepSeries(1),
    w: pick("window"), z: pick("zoom"), m: pick("magnify"), l: pick("length"), a: pick("angle"), e: pick("ellipse"), p: pick("probe"),
    Delete: deleteAndRender(viewer),
    i: () => grid.active.invert(), r: () => grid.active.rotate(), h: () => grid.active.flip(), "0": () => grid.active.reset(),
    " ": () => viewer.cine.toggle(grid.active),
    g: () => viewer.nextLayout(), v: () => grid.activateNext(), f: () => grid.toggleFull(),
    b: () => void viewer.toggleNearestPrior(), y: () => viewer.linkHere(), k: () => viewer.markKeyImage(),
    // Elsewhere on the page the question mark asks for the page's own keys.
    "?": () => { if (section.contains(document.activeElement)) help.toggle(); },
    Escape: () => {
      if (help.isOpen) help.close();
      else if (grid.isFull) grid.toggleFull();
      else returnToText();
    },
  };
}

function deleteAndRender(viewer: Viewer): () => void {
  return () => {
    deleteMeasurements();
    for (const viewport of viewer.grid.visible) if (viewport.hasImage) viewport.stack.render();
  };
}

function buttonsFor(viewer: Viewer, tools: ToolBox, help: Help): ToolbarButton[] {
  const { grid } = viewer;
  const tool = (name: ToolName, key: string, group: number): ToolbarButton =>
    ({ icon: name, word: TOOLS[name].word, key, group, run: () => tools.pick(name), isOn: () => tools.active === name });
  return [
    tool("window", "W", 0), tool("zoom", "Z", 0), tool("pan", "", 0), tool("scroll", "", 0), tool("magnify", "M", 0),
    tool("length", "L", 1), tool("angle", "A", 1), tool("ellipse", "E", 1), tool("probe", "P", 1),
    { icon: "bin", word: "action_delete", key: "Del", group: 1, run: deleteAndRender(viewer) },
    { icon: "invert", word: "action_invert", key: "I", group: 2, run: () => grid.active.invert() },
    { icon: "rotate", word: "action_rotate", key: "R", group: 2, run: () => grid.active.rotate() },
    { icon: "flip", word: "action_flip", key: "H", group: 2, run: () => grid.active.flip() },
    { icon: "reset", word: "action_reset", key: "0", group: 2, run: () => grid.active.reset() },
    { icon: "cine", word: "action_cine", key: "Space", group: 3, run: () => viewer.cine.toggle(grid.active),
      isOn: () => viewer.cine.isPlaying(grid.active) },
    { icon: "layout", word: "action_layout", key: "G", group: 3, run: () => viewer.nextLayout() },
    { icon: "prior", word: "action_prior", key: "B", group: 3, run: () => void viewer.toggleNearestPrior() },
    { icon: "link", word: "link_here", key: "Y", group: 3, run: () => viewer.linkHere() },
    { icon: "key", word: "key_image", key: "K", group: 4, run: () => viewer.markKeyImage() },
    { icon: "full", word: "action_full", key: "F", group: 4, run: () => grid.toggleFull(), isOn: () => grid.isFull },
    { icon: "help", word: "action_help", key: "?", group: 4, run: () => help.toggle() },
  ];
}

function fillPresets(toolbar: Toolbar, viewer: Viewer): void {
  const modality = viewer.grid.active?.displaySet?.modality ?? "";
  toolbar.refresh();
  if (toolbar.presets.dataset["modality"] === modality) return;
  toolbar.presets.dataset["modality"] = modality;
  const options = presetsFor(modality).map((preset, index) => new Option(`${index + 1} ${word(preset.name)}`, String(index + 1)));
  toolbar.presets.replaceChildren(new Option(word("presets"), ""), ...options);
  toolbar.presets.onchange = () => {
    viewer.preset(Number(toolbar.presets.value));
    toolbar.presets.value = "";
    viewer.grid.activate(viewer.grid.active);
  };
}
