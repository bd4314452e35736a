// Keys of the worklist: the chosen row survives every refresh.
import { call, isTyping, reason, say, toast } from "./portal.js";

let chosen = sessionStorage.getItem("worklist.row") ?? "";
const rows = () => [...document.querySelectorAll("#rows tr[data-open]")];

function show() {
  for (const row of rows()) row.classList.toggle("is-here", row.id === chosen);
}
function choose(row) {
  if (!row) return;
  chosen = row.id;
  sessionStorage.setItem("worklist.row", chosen);
  show();
  row.scrollIntoView({ block: "nearest" });
}
function move(step) {
  const all = rows();
  const at = all.findIndex((row) => row.id === chosen);
  choose(all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + step))]);
}
async function next() {
  const answer = await call("POST", "/api/reading-tasks/next");
  if (answer.status === 204) toast(say("Nothing is waiting for you now."));
  else if (answer.ok) location.href = `/reading/${answer.body.id ?? answer.body.task_id}`;
  else toast(reason(answer), "bad");
}
const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  Home: () => choose(rows()[0]), End: () => choose(rows().at(-1)),
  Enter: () => { const row = rows().find((one) => one.id === chosen) ?? rows()[0]; if (row) location.href = row.dataset.open; },
  n: () => { if (document.querySelector("[data-next]")) next(); }, "/": () => document.getElementById("search").focus(), "?": () => document.getElementById("help").showModal(),
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.id === "search") { event.target.blur(); return; }
  if (event.target.id === "search" && event.key === "ArrowDown") event.target.blur();
  else if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && event.target.closest("a, button")) return;
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});
// Sorting asks through the form, so that the words that are searched for come along.
function sort(link) {
  const form = document.getElementById("filters");
  form.elements.sort.value = link.dataset.sort;
  form.dispatchEvent(new Event("change"));
}
document.addEventListener("click", (event) => {
  const column = event.target.closest("a[data-sort]");
  if (column && !event.ctrlKey && !event.metaKey) { event.preventDefault(); sort(column); }
  if (event.target.closest("[data-next]")) next();
  if (event.target.closest("[data-help]")) document.getElementById("help").showModal();
});
// After settling: until then htmx puts the server's attributes back.
document.body.addEventListener("htmx:afterSettle", show);
show();
