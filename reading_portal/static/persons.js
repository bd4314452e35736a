// Keys of the list of proposals and of the page that compares two patients.
import { isTyping } from "./portal.js";

let chosen = 0;
const rows = () => [...document.querySelectorAll("#list tr[data-open]")];

function show() {
  rows().forEach((row, at) => row.classList.toggle("is-here", at === chosen));
}
function move(step) {
  chosen = Math.min(rows().length - 1, Math.max(0, chosen + step));
  show();
  rows()[chosen]?.scrollIntoView({ block: "nearest" });
}
/** A decision is chosen by a key, then its reason is written; Enter there records it. */
function decide(decision) {
  const choice = document.querySelector(`#decision [value="${decision}"]`);
  if (!choice) return;
  choice.checked = true;
  document.getElementById("reason").focus();
}
const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  Enter: () => { const row = rows()[chosen]; if (row) location.href = row.dataset.open; },
  "/": () => document.getElementById("search")?.focus(),
  l: () => decide("link"), d: () => decide("distinct"), u: () => decide("undo"),
  Escape: () => { const list = document.querySelector("[data-list]"); if (list) location.href = list.href; },
};
const OF_THE_LIST = ["j", "k", "ArrowDown", "ArrowUp", "Enter"];
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && isTyping(event)) { event.target.blur(); return; }
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (OF_THE_LIST.includes(event.key) && (!rows().length || event.target.closest("a, button, input"))) return;
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});
// After settling: until then htmx puts the server's attributes back.
document.body.addEventListener("htmx:afterSettle", () => { chosen = Math.min(chosen, Math.max(0, rows().length - 1)); show(); });
show();
