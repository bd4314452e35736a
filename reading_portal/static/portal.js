// Every page: words for scripts, rows that open, the mark that says whether the list is live, dialogs.
const body = document.body;
const words = JSON.parse(body.dataset.words || "{}");

/** A sentence in the page's language, `{0}` filled in. */
export function say(text, ...values) {
  return (words[text] ?? text).replace(/\{(\d)\}/g, (_, place) => values[Number(place)] ?? "");
}

export const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

/** A short note in the corner; `bad` ones stay longer. */
export function toast(text, kind = "good") {
  const note = document.createElement("div");
  note.className = `toast is-${kind}`;
  note.textContent = text;
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), kind === "bad" ? 8000 : 3500);
}

/** Call the portal's own API. Answers {ok, status, body}; status 0 means that the line is down, or that
 *  `signal` ended the wait. */
export async function call(method, path, json, signal) {
  const headers = { "X-CSRF-Token": csrf, Accept: "application/json" };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(path, { method, headers, body: json === undefined ? undefined : JSON.stringify(json), credentials: "same-origin", signal });
    const text = await answer.text();
    let said = {};
    try { said = text ? JSON.parse(text) : {}; } catch { said = { detail: text }; }
    if (!answer.ok && said.detail) said.detail = await translated(said.detail);
    return { ok: answer.ok, status: answer.status, body: said };
  } catch {
    return { ok: false, status: 0, body: {} };
  }
}

/** The API speaks English; a refusal is shown in the language of the page. */
async function translated(sentence) {
  if (body.dataset.lang === "en") return sentence;
  try {
    const answer = await fetch(`/sentence?language=${body.dataset.lang}&text=${encodeURIComponent(sentence.slice(0, 500))}`);
    return answer.ok ? await answer.text() : sentence;
  } catch { return sentence; }
}

/** What a refused call says, for a person. */
export function reason(answer) {
  if (answer.status === 0) return say("The line is down; what you type is kept here.");
  const said = answer.body.detail || answer.body.title;
  return said ? said[0].toUpperCase() + said.slice(1) : say("Something went wrong ({0}).", answer.status);
}

/** Whether a key belongs to the text that is being written, not to the page. */
export function isTyping(event) {
  const at = event.target;
  return event.isComposing || at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName) && !/^(radio|checkbox|button)$/.test(at.type);
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
  if (event.target.closest("[data-close]")) event.target.closest("dialog")?.close();
  if (event.target.closest("[data-print]")) window.print();
  const row = event.target.closest("tr[data-open]");
  if (row && !event.target.closest("a, button, input, select, label, summary") && !window.getSelection().toString()) {
    if (event.ctrlKey || event.metaKey) window.open(row.dataset.open); else location.href = row.dataset.open;
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  const back = event.target.closest("[data-back]");
  if (back && history.length > 1) { event.preventDefault(); history.back(); }
});

// A second click on a button that is already working does nothing.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method === "dialog" || event.target.hasAttribute("hx-get")) return;
  if (event.target.dataset.sent) { event.preventDefault(); return; }
  event.target.dataset.sent = "1";
  setTimeout(() => delete event.target.dataset.sent, 4000);
});
// A file that is chosen is what the form was for.
document.addEventListener("change", (event) => { if (event.target.matches("input[data-send]") && event.target.files.length) event.target.form.requestSubmit(); });
for (const one of document.querySelectorAll("[data-confirm]")) {
  one.addEventListener("submit", (event) => { if (!window.confirm(one.dataset.confirm)) { event.preventDefault(); event.stopImmediatePropagation(); } }, true);
}

// On a telephone the rooms are one long line: the one where we are comes into view.
document.querySelector(".rooms [aria-current]")?.scrollIntoView({ inline: "nearest", block: "nearest" });

const live = document.querySelector("[data-live]");
function mark(isLive) {
  if (!live) return;
  live.hidden = false;
  live.classList.toggle("is-lost", !isLive);
  live.lastElementChild.textContent = say(isLive ? "live" : "reconnecting");
}
body.addEventListener("htmx:sseOpen", () => mark(true));
body.addEventListener("htmx:sseError", () => mark(false));
// The session ended while a list refreshed itself.
body.addEventListener("htmx:responseError", (event) => { if (event.detail.xhr.status === 401) location.reload(); });

// What is searched for names patients: it travels in a header, because addresses are kept in histories and logs.
document.addEventListener("htmx:configRequest", (event) => {
  const { parameters, headers, verb } = event.detail;
  if (verb !== "get" || parameters.q === undefined) return;
  headers["X-Search"] = encodeURIComponent(parameters.q);
  delete parameters.q;
});
