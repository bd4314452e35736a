// The order form: what a resident ID says is filled in; parts and sides follow the modality.
import { csrf, say } from "./portal.js";

const form = document.getElementById("order");
const field = form.querySelector("[data-resident-id]");
const hint = form.querySelector("[data-resident-id-hint]");

async function check() {
  const text = field.value.trim();
  hint.className = "hint";
  hint.textContent = "";
  if (!text) return;
  const answer = await fetch("/orders/resident-id", {
    method: "POST", credentials: "same-origin", headers: { "X-CSRF-Token": csrf }, body: new URLSearchParams({ text }) });
  const said = await answer.json();
  hint.classList.add(answer.ok ? "is-good" : "is-bad");
  if (!answer.ok) { hint.textContent = said.detail; return; }
  form.elements.birth_date.value = said.birth_date;
  form.querySelector(`[name=sex][value=${said.sex}]`).checked = true;
  hint.textContent = say("The check character fits.");
}
field.addEventListener("change", check);
field.addEventListener("input", () => { if (field.value.trim().length === 18) check(); });

if (field.value) check();  // the form came back with its mistake

function only(fieldset, isShown) {
  fieldset.hidden = fieldset.disabled = !isShown;
}
function sides() {
  const part = form.querySelector("[data-parts]:not([hidden]) [name=body_part]:checked");
  only(form.querySelector("[data-sides]"), part != null && "paired" in part.dataset);
}
/** The parts of this modality; what was chosen stays where it is offered too, and an only one is chosen. */
function offer(modality) {
  const chosen = form.querySelector("[name=body_part]:checked")?.value;
  for (const parts of form.querySelectorAll("[data-parts]")) {
    only(parts, parts.dataset.parts === modality);
    if (parts.hidden) continue;
    const offered = [...parts.querySelectorAll("[name=body_part]")];
    const kept = offered.find((one) => one.value === chosen) ?? (offered.length === 1 ? offered[0] : null);
    for (const one of form.querySelectorAll("[name=body_part]")) one.checked = one === kept;
  }
}
form.addEventListener("change", (event) => {
  if (event.target.name === "modality") offer(event.target.value);
  if (event.target.name === "modality" || event.target.name === "body_part") sides();
});
sides();
