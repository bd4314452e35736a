// The reading page beside the images: lease, draft, warnings, key images, signature. Images are the viewer's.
import { call, isTyping, reason, say, toast } from "./portal.js";
import { signed } from "./proof.js";
import { dictateWith } from "./report_dictation.js";
import { doubtLines, showDoubt } from "./report_doubts.js";
import { ReportDraft, textOf } from "./report_draft.js";
import { expandIn, nextBlank } from "./report_macros.js";
import { merge } from "./report_merge.js";
import { askWhich } from "./report_versions.js";
import { watchTabs } from "./reading_tabs.js";

const room = document.querySelector(".room");
const { task, mode, study, username } = room.dataset;
const form = document.getElementById("report");
const banner = document.querySelector("[data-banner]");
const path = (step) => `/api/reading-tasks/${task}/${step}`;
const HEARTBEAT = 20_000, SOON = 3000, LATER = 10_000, SILENT = 15_000;

let fence = null, beat = null, again = null, unprintable = [], doubts = [], lossless = null;

function announce(text, ...buttons) {
  const sentence = Object.assign(document.createElement("span"), { textContent: text });
  banner.replaceChildren(sentence, ...buttons);
  banner.hidden = !text;
}
function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "ghost";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

// --- keys that work in every state ----------------------------------------------------------------------------------

// The reports of earlier exams stand beside the text for who wants them there.
const priors = document.querySelector(".priors");
if (priors && localStorage.getItem("priors") === "open") priors.open = true;
priors?.addEventListener("toggle", () => localStorage.setItem("priors", priors.open ? "open" : ""));
let lastText = null;
document.addEventListener("focusin", (event) => { if (event.target.closest("#report textarea")) lastText = event.target; });
function toggleFocus() {
  const viewer = document.querySelector("#viewer .viewport") ?? document.getElementById("viewer");
  if (document.activeElement?.closest(".desk")) { viewer?.setAttribute("tabindex", viewer.getAttribute("tabindex") ?? "-1"); viewer?.focus(); }
  else (lastText ?? document.getElementById("findings"))?.focus();
}
document.addEventListener("keydown", (event) => {
  if (event.key === "F2") { event.preventDefault(); toggleFocus(); }
  else if (event.key === "F6") { event.preventDefault(); if (priors) priors.open = !priors.open; }
  else if (event.altKey && event.key.toLowerCase() === "w") { event.preventDefault(); location.href = "/worklist"; }
  else if (event.key === "?" && !isTyping(event) && !event.target.closest("#viewer") && !document.querySelector("dialog[open]")) document.getElementById("keys").showModal();
});
window.addEventListener("offline", () => { document.querySelector("[data-line-down]").hidden = false; });
window.addEventListener("online", () => { document.querySelector("[data-line-down]").hidden = true; });

// --- images that come while the exam is open: said beside them, never put in unasked --------------------------------

const arrival = document.querySelector("[data-arrival]");
const seen = Number(arrival.dataset.version), { mark } = arrival.dataset;
let keepWords = async () => {};
async function lookForNewImages() {
  const answer = await fetch(`/reading/${task}/arrival?seen=${seen}&mark=${mark}`, { credentials: "same-origin" }).catch(() => null);
  const now = answer?.ok ? await answer.text() : "";
  if (now && now !== lookForNewImages.said) arrival.innerHTML = lookForNewImages.said = now;
}
const events = new EventSource("/api/events");
events.addEventListener("study", (event) => { if (JSON.parse(event.data).subject === `study:${study}`) lookForNewImages(); });
events.addEventListener("reload", lookForNewImages);
arrival.addEventListener("click", async (event) => {
  if (!event.target.closest("[data-show-new-images]")) return;
  await keepWords();
  location.reload();
});

if (form) begin();

function begin() {
  const draft = new ReportDraft(form, task, username);
  const words = document.getElementById("words");
  const kept = document.getElementById("kept");
  const texts = [...form.querySelectorAll("textarea")];
  const state = (kind, text) => { kept.className = `kept is-${kind}`; kept.textContent = text; };
  draft.onState = state;
  keepWords = async () => { if (mode === "write" && fence != null) await draft.save(); };
  draft.isReadOnly = mode === "review";
  draft.onLost = (answer) => lost(answer);
  draft.onSaved = (body) => { ({ unprintable, doubts } = body); warn(); };

  // --- the lease ----------------------------------------------------------------------------------------------------

  async function claim(takeover = false) {
    clearTimeout(again);
    const answer = await call("POST", path("claim"), { takeover }, AbortSignal.timeout(SILENT));
    const now = answer.ok ? await call("GET", `/reading/${task}/draft`, undefined, AbortSignal.timeout(SILENT)) : answer;
    if (!now.ok) { refused(now, takeover); return; }
    fence = answer.body.fence;
    draft.begin(now.body.draft, fence);
    doubts = now.body.doubts;
    announce("");
    open();
    bringBack();
  }
  function open() {
    words.disabled = false;
    setOpen(true);
    state("good", "");
    showKeyImages();
    warn();
    clearInterval(beat);
    beat = setInterval(heartbeat, HEARTBEAT);
    if (!document.activeElement || document.activeElement === document.body) document.getElementById("findings").focus({ preventScroll: true });
  }
  /** Why the text cannot be written yet, and the way on: nobody is left before a closed text without one. */
  async function refused(answer, takeover) {
    const { holder } = answer.body;
    state("bad", answer.status === 0 ? reason(answer) : "");
    if (answer.status === 409 && holder) announce(say("{0} holds this exam.", await holderName() || holder), button(say("Take over"), () => claim(true)), ...mine());
    else if (answer.status !== 0 && banner.firstChild?.textContent !== reason(answer)) announce(reason(answer), button(say("Load again"), () => location.reload()));
    // A line that was down, a server that was busy, a lease too many: it passes, and the page finds that out by itself.
    if (![401, 404, 409].includes(answer.status)) again = setTimeout(() => claim(takeover), answer.status === 403 ? LATER : SOON);
  }
  /** Words that wait on this computer are within reach also while another holds the exam. */
  const mine = () => (draft.kept() ? [button(say("Copy my text"), () => copy(textOf(draft.kept().words)))] : []);
  async function holderName() {
    const answer = await call("GET", `/reading/${task}/draft`);
    return answer.ok ? answer.body.holder ?? "" : null;
  }
  async function heartbeat() {
    const answer = await call("POST", path("heartbeat"), { fence });
    if (answer.status === 409) lost(answer);
  }
  function close() {
    draft.isLost = true;
    clearInterval(beat);
    setOpen(false);
    state("bad", "");
  }
  function setOpen(isOpen) {
    if (mode === "write") for (const one of texts) one.readOnly = !isOpen;
    for (const one of document.querySelectorAll("[data-needs-lease], [data-sign]")) one.disabled = !isOpen;
    if (mode === "write") for (const one of document.querySelectorAll(".tools :is(select, button, input)")) one.disabled = !isOpen;
  }
  async function lost(answer) {
    close();
    const holder = await holderName();
    // The lease ran out while the line was down, and nobody else has come: the words go on from here.
    if (holder === "" && answer.body.type?.endsWith("stale-fence")) { draft.isLost = false; claim(); return; }
    const who = holder ? ` · ${say("{0} holds this exam.", holder)}` : "";
    announce(reason(answer) + who, button(say("Copy the text"), () => copy()), button(say("Load again"), () => location.reload()));
  }
  /** Words of this computer that never reached the server come back; where the server has others by now, the reader decides. */
  function bringBack() {
    const local = draft.kept();
    if (!local || mode !== "write") return;
    const theirs = draft.words();
    const { words: merged, open: differing } = merge(local.base, local.words, theirs);
    if (differing.length) {
      draft.setAside(local);
      announce(say("Two versions of this text: one from {0} on this computer, another on the server.", moment(local.at)), button(say("Compare them"), decide));
      decide();
      return;
    }
    draft.decided();
    if (JSON.stringify(merged) === JSON.stringify(theirs)) return;
    put(merged);
    announce(say("Text from {0} that had not reached the server is in its place again.", moment(local.at)),
      button(say("Undo"), () => { put(theirs); announce(""); }), button(say("All right"), () => announce("")));
  }
  /** Between the words that wait and those that stand here by now. */
  function decide() {
    const local = draft.waiting();
    const { words: merged, open: differing } = merge(local.base, local.words, draft.words());
    askWhich(merged, differing, (chosen) => { draft.decided(); put(chosen); announce(""); });
  }
  const moment = (at) => new Date(at).toLocaleString(document.documentElement.lang, { hour12: false });
  function put(said) { draft.show(said); showKeyImages(); draft.changed(); }
  async function copy(text = draft.text()) {
    try { await navigator.clipboard.writeText(text); toast(say("Copied.")); }
    catch { document.getElementById("findings").select(); }
  }

  // --- writing ------------------------------------------------------------------------------------------------------

  function insert(option, isNormal) {
    if (!option) return;
    const { findings, impression, recommendation } = form.elements;
    const said = option.dataset;
    // Pressing the key twice writes it once.
    for (const [field, text] of [[findings, said.findings], [impression, said.impression], [recommendation, said.recommendation]])
      if (text && !field.value.includes(text)) field.value = field.value.trim() ? `${field.value.trimEnd()}\n${text}` : text;
    draft.template = option.value;
    if (isNormal) { form.querySelector('[name=positive][value="false"]').checked = true; toast(say("Normal report inserted. Check every sentence.")); }
    form.dispatchEvent(new Event("input"));
    findings.focus();
    findings.setSelectionRange(0, 0);
    if (!nextBlank(texts)) findings.setSelectionRange(findings.value.length, findings.value.length);
  }
  if (mode === "write") expandIn(form);
  const speak = document.querySelector("[data-dictate]");
  const dictate = speak && dictateWith(speak, () => (lastText && texts.includes(lastText) ? lastText : texts[0]));
  const templates = document.getElementById("template");
  function normal() {
    const option = templates?.querySelector("[data-normal]");
    if (option) insert(option, true);
    else toast(say("There is no normal report for such an exam yet."), "bad");
  }
  templates?.addEventListener("change", () => { insert(templates.selectedOptions[0].value ? templates.selectedOptions[0] : null, "normal" in templates.selectedOptions[0].dataset); templates.value = ""; });

  /** Said live beside the text, as of the last autosave, and once more before the signature. */
  function warnings(show) {
    const lines = doubtLines(doubts, show);
    if (unprintable.length) lines.unshift(Object.assign(document.createElement("li"), { textContent: say("Cannot be printed: {0}", unprintable.join(" ")) }));
    return lines;
  }
  function warn() {
    document.getElementById("warnings").replaceChildren(...warnings((doubt) => showDoubt(form, doubt)));
    if (signing.open) warnTheSigner();
  }

  // --- key images ---------------------------------------------------------------------------------------------------

  let seriesOf = null;
  async function picture(image) {
    seriesOf ??= fetch(document.getElementById("viewer")?.dataset.manifest ?? "").then((answer) => answer.json()).then((manifest) =>
      new Map(manifest.series.flatMap((series) => series.instances.map((one) => [one.sop_instance_uid, series.series_instance_uid]))));
    const series = (await seriesOf.catch(() => new Map())).get(image.sop_instance_uid);
    return series ? `/dicom-web/studies/${study}/series/${series}/instances/${image.sop_instance_uid}/frames/${image.frame}/thumbnail?viewport=128,128` : "";
  }
  function showKeyImages() {
    const place = document.getElementById("key-images");
    document.querySelector("[data-no-key-images]").hidden = draft.keyImages.length > 0;
    place.replaceChildren(...draft.keyImages.map((image, number) => {
      const item = document.createElement("li");
      const shown = Object.assign(document.createElement("img"), { alt: `${say("Key image")} ${number + 1}`, width: 62, height: 62 });
      picture(image).then((url) => { if (url) shown.src = url; });
      const drop = Object.assign(document.createElement("button"), { type: "button", textContent: "×", title: say("remove") });
      drop.addEventListener("click", () => { draft.keyImages = draft.keyImages.filter((one) => one !== image); showKeyImages(); draft.changed(); });
      const caption = Object.assign(document.createElement("input"), { value: image.caption ?? "", maxLength: 200, placeholder: say("caption"), readOnly: mode !== "write" });
      caption.setAttribute("aria-label", `${say("Key image")} ${number + 1}: ${say("caption")}`);
      caption.addEventListener("input", () => { image.caption = caption.value; });
      item.append(shown, drop, caption);
      return item;
    }));
  }
  document.addEventListener("viewer:key-image", async (event) => {
    const { sop_instance_uid, frame } = event.detail;
    // A prior stands beside this exam: its images are another exam's, and can never be in this report.
    await picture({ sop_instance_uid, frame });
    if ((await seriesOf.catch(() => null))?.has(sop_instance_uid) === false) { toast(say("A key image must be of this exam."), "bad"); return; }
    if (mode !== "write" || fence == null || draft.keyImages.some((one) => one.sop_instance_uid === sop_instance_uid && one.frame === frame)) return;
    draft.keyImages = [...draft.keyImages, { sop_instance_uid, frame, caption: "" }];
    showKeyImages();
    draft.changed();
  });
  document.addEventListener("viewer:quality", (event) => { lossless = event.detail.lossless; });

  // --- signing and the other ways out -------------------------------------------------------------------------------

  const signing = document.getElementById("sign");
  let andNext = false, warned = "";
  function askToSign(next) {
    if (fence == null || draft.isLost || document.querySelector("dialog[open]")) return;
    if (draft.waiting()) { decide(); return; } // a signature must not bury a version that nobody has looked at
    andNext = next;
    warnTheSigner();
    if (mode === "write") draft.save(); // its answer says what is doubted in the newest words
    signing.querySelector("[data-not-lossless]").hidden = lossless !== false;
    problem(signing, "");
    signing.showModal();
    signing.querySelector("[name=secret]").focus();
  }
  function warnTheSigner() {
    const lines = warnings();
    signing.querySelector("[data-sign-warnings]").replaceChildren(...lines);
    signing.querySelector("[data-despite]").hidden = !doubts.length;
    warned = JSON.stringify(doubts);
  }
  function problem(dialog, text) {
    const line = dialog.querySelector("[data-problem]");
    line.textContent = text;
    line.hidden = !text;
  }
  async function attempt(dialog, work) {
    const send = dialog.querySelector(".end button:last-child");
    send.disabled = true;
    const answer = await work();
    send.disabled = false;
    if (answer.ok) { dialog.close(); return true; }
    if (answer.status === 409 && answer.body.type?.endsWith("stale-fence")) { dialog.close(); lost(answer); return false; }
    problem(dialog, reason(answer));
    return false;
  }
  const proven = (step, json, typed) => signed(path(step), json, typed);
  document.getElementById("sign-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = event.target.elements.secret;
    const typed = field.value;
    const done = await attempt(signing, async () => {
      const before = warned;
      if (mode === "write" && !(await draft.save())) return { ok: false, status: 0, body: {} };
      if (before !== warned) return { ok: false, body: { detail: say("The text is doubted. Look at it, then sign again.") } };
      return mode === "write" ? proven("sign", { fence, study_version: seen, study_mark: mark }, typed) : proven("review", { fence, study_version: seen, study_mark: mark, decision: "approve", note: "" }, typed);
    });
    field.value = "";
    if (!done) { if (signing.open) field.focus(); return; }
    leave();
    if (!andNext) { location.href = "/worklist"; return; }
    const next = await call("POST", "/api/reading-tasks/next");
    location.href = next.ok && next.status !== 204 ? `/reading/${next.body.id}` : "/worklist";
  });
  function leave() { clearInterval(beat); draft.isLost = true; draft.forget(); }

  async function step(name, json, dialog) {
    if (mode === "write" && !(await draft.save())) { toast(say("kept on this computer only"), "bad"); return; }
    const work = () => call("POST", path(name), { fence, ...json });
    if (dialog) { if (!(await attempt(dialog, work))) return; }
    else { const answer = await work(); if (!answer.ok) { toast(reason(answer), "bad"); return; } }
    leave();
    location.href = "/worklist";
  }
  for (const one of document.querySelectorAll("dialog form[data-step]")) one.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = Object.fromEntries(new FormData(one));
    if (said.to === "") said.to = null;
    if (one.dataset.step === "suspend") delete said.note;
    step(one.dataset.step, said, one.closest("dialog"));
  });
  document.querySelector("form[data-review]")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { note, secret: field } = event.target.elements;
    if (await attempt(event.target.closest("dialog"), () => proven("review", { fence, decision: "reject", note: note.value }, field.value))) { leave(); location.href = "/worklist"; }
    field.value = "";
  });
  document.querySelector("form[data-critical]").addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = Object.fromEntries(new FormData(event.target));
    if (await attempt(event.target.closest("dialog"), () => call("POST", "/api/critical-results", { study_instance_uid: study, ...said }))) { await draft.save(); location.reload(); }
  });
  document.addEventListener("click", (event) => {
    const sign = event.target.closest("[data-sign]");
    if (sign) askToSign(sign.dataset.sign === "next");
    if (event.target.closest("button[data-step]")) step(event.target.closest("button[data-step]").dataset.step, {});
    if (event.target.closest("[data-copy]")) copy();
    if (event.target.closest("[data-normal-report]")) normal();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "F4" && mode === "write" && fence != null && !draft.isLost) { event.preventDefault(); normal(); }
    else if (event.key === "F9" && dictate && mode === "write" && fence != null && !draft.isLost) { event.preventDefault(); dictate(); }
    else if (event.key === "F3" && mode === "write" && fence != null && !document.querySelector("dialog[open]")) { event.preventDefault(); nextBlank(texts, event.shiftKey); }
    else if (event.key === "Enter" && event.ctrlKey && !document.querySelector("dialog[open]")) { event.preventDefault(); askToSign(event.shiftKey && mode === "write"); }
  });

  const tab = document.querySelector("[data-other-tabs]");
  const label = [...document.querySelectorAll(".bar-patient b, .bar-exam")].map((one) => one.innerText.replace(/\s+/g, " ").trim()).join(" ");
  watchTabs(task, label, tab, async () => {
    if (mode === "write" && fence != null && !draft.isLost) await draft.save();
    close();
    announce(say("You went on with this exam in another tab."), button(say("Write here"), () => location.reload()));
  });
  claim();
}
