// Both versions of a report side by side, part by part, what differs marked; the reader says which one counts.
import { say } from "./portal.js";
import { difference } from "./report_merge.js";

const NAMES = { findings: "Findings", impression: "Impression", recommendation: "Recommendation", positive: "Result", image_quality: "Image quality", key_images: "Key images" };

function shown(name, value) {
  if (name === "positive") return value == null ? "—" : say(value ? "positive" : "negative");
  if (name === "key_images") return String(value.length);
  return value || "—";
}

function version(part, side, other) {
  const label = document.createElement("label");
  const choice = Object.assign(document.createElement("input"), { type: "radio", name: part.name, value: side, required: true });
  const text = document.createElement("span");
  text.className = "version";
  for (const { text: piece, isOther } of difference(shown(part.name, part[side]), shown(part.name, part[other])))
    text.append(isOther ? Object.assign(document.createElement("mark"), { textContent: piece }) : piece);
  label.append(choice, text);
  return label;
}

/** Opens the dialog; `then` hears the words as chosen. Closing it decides nothing. */
export function askWhich(merged, differing, then) {
  const dialog = document.getElementById("versions");
  const form = dialog.querySelector("form");
  form.querySelector("[data-parts]").replaceChildren(...differing.map((part) => {
    const set = Object.assign(document.createElement("fieldset"), { className: "versions" });
    set.append(Object.assign(document.createElement("legend"), { textContent: say(NAMES[part.name]) }), version(part, "mine", "theirs"), version(part, "theirs", "mine"));
    if (typeof part.mine === "string" && part.name !== "image_quality" && part.mine && part.theirs) {
      const both = document.createElement("label");
      both.className = "both";
      both.append(Object.assign(document.createElement("input"), { type: "radio", name: part.name, value: "both" }), say("both, one below the other"));
      set.append(both);
    }
    return set;
  }));
  form.onsubmit = (event) => {
    event.preventDefault();
    const chosen = { ...merged };
    for (const part of differing) {
      const side = new FormData(form).get(part.name);
      chosen[part.name] = side === "both" ? `${part.theirs.trimEnd()}\n${part.mine}` : part[side];
    }
    dialog.close();
    then(chosen);
  };
  dialog.showModal();
}
