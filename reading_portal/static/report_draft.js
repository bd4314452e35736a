// The words of the report: kept on the server within two seconds of a pause, on this computer until then.
import { call, reason, say } from "./portal.js";

const SOON = 700, LATEST = 2000, RETRY = [1000, 2000, 4000, 8000];
const FIELDS = ["findings", "impression", "recommendation", "image_quality"];

export class ReportDraft {
  constructor(form, taskId, username) {
    this.form = form;
    this.path = `/api/reading-tasks/${taskId}/report`;
    this.place = `draft:${username}:${taskId}`;
    this.aside = `${this.place}:aside`;
    this.keyImages = JSON.parse(document.getElementById("key-images").dataset.images || "[]");
    this.template = null;
    this.fence = null;
    this.isLost = false;
    this.isReadOnly = false; // a reviewer approves the author's words or rejects them
    this.failures = 0;
    this.saved = JSON.stringify(this.words());
    this.onSaved = () => {};
    this.onLost = () => {};
    this.onState = () => {};
    form.addEventListener("input", () => this.changed());
    form.addEventListener("change", () => this.changed());
    window.addEventListener("pagehide", () => this.leave());
    window.addEventListener("online", () => this.save());
  }

  words() {
    const form = new FormData(this.form);
    const positive = form.get("positive");
    // A disabled fieldset keeps its values out of FormData.
    const value = (name) => this.form.elements[name]?.value ?? "";
    const chosen = this.form.querySelector("[name=positive]:checked")?.value ?? positive;
    return { ...Object.fromEntries(FIELDS.map((name) => [name, value(name)])), template: this.template ?? null,
      key_images: this.keyImages ?? [], positive: chosen == null ? null : chosen === "true" };
  }

  show(draft) {
    for (const name of FIELDS) if (this.form.elements[name]) this.form.elements[name].value = draft[name] ?? "";
    for (const one of this.form.querySelectorAll("[name=positive]")) one.checked = draft.positive != null && one.value === String(draft.positive);
    this.keyImages = draft.key_images ?? [];
    this.template = draft.template ?? null;
  }

  get isDirty() { return JSON.stringify(this.words()) !== this.saved; }

  /** The server's words as they are now; what is typed from here on is new. */
  begin(draft, fence) {
    this.fence = fence;
    if (draft) { this.show(draft); this.saved = JSON.stringify(this.words()); }
  }

  changed() {
    if (this.isReadOnly || this.isLost || this.fence == null || !this.isDirty) return;
    this.firstChange ??= Date.now();
    this.keep(this.place, { at: new Date().toISOString(), base: JSON.parse(this.saved), words: this.words() });
    this.onState("wait", say("not saved yet"));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), Math.max(0, Math.min(SOON, this.firstChange + LATEST - Date.now())));
  }

  /** Keep what is there now; true once the server has it. */
  async save() {
    clearTimeout(this.timer);
    if (this.isLost || this.fence == null) return false;
    if (this.isSaving) return this.isSaving.then(() => this.save());
    if (!this.isDirty) { this.forget(); return true; }
    const words = this.words();
    this.firstChange = null;
    this.onState("wait", say("saving…"));
    this.isSaving = call("PUT", this.path, { fence: this.fence, ...words });
    const answer = await this.isSaving;
    this.isSaving = null;
    if (answer.ok) {
      this.saved = JSON.stringify(words);
      this.failures = 0;
      if (!this.isDirty) this.forget();
      this.onState("good", say("saved {0}", new Date().toLocaleTimeString(document.documentElement.lang, { hour12: false })));
      this.onSaved(answer.body);
      if (this.isDirty) this.changed();
      return true;
    }
    if (answer.status === 409) { this.lose(answer); return false; }
    if (answer.status === 401 || answer.status === 403) this.onState("bad", say("This session has ended. Sign in again in another tab; your text stays here."));
    else this.onState("bad", answer.status === 0 ? say("kept on this computer only") : reason(answer));
    this.timer = setTimeout(() => this.save(), RETRY[Math.min(this.failures++, RETRY.length - 1)]);
    return false;
  }

  /** Somebody else holds the task: nothing more is sent, every word stays on the screen. */
  lose(answer) {
    this.isLost = true;
    clearTimeout(this.timer);
    this.onLost(answer);
  }

  keep(place, kept) {
    try { localStorage.setItem(place, JSON.stringify(kept)); }
    catch { this.onState("bad", say("This computer keeps no text; only what is saved on the server is safe.")); }
  }

  forget() { localStorage.removeItem(this.place); }

  /** Words that never reached the server: {at, base, words}, `base` being the server's when they were typed; or null. */
  kept() {
    try { return this.waiting() ?? JSON.parse(localStorage.getItem(this.place)); } catch { return null; }
  }

  /** Those that were set aside, or null. */
  waiting() {
    try { return JSON.parse(localStorage.getItem(this.aside)); } catch { return null; }
  }

  /** They wait for a decision: what is typed meanwhile must not take their place. */
  setAside(kept) { this.keep(this.aside, kept); }

  decided() { localStorage.removeItem(this.aside); this.forget(); }

  leave() {
    if (this.isReadOnly || this.fence == null || this.isLost || !this.isDirty) return;
    fetch(this.path, { method: "PUT", keepalive: true, credentials: "same-origin",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": document.querySelector('meta[name="csrf-token"]').content },
      body: JSON.stringify({ fence: this.fence, ...this.words() }) });
  }

  text() { return textOf(this.words()); }
}

/** All that is written, to be copied. */
export function textOf({ findings, impression, recommendation }) {
  return [findings, impression, recommendation].filter(Boolean).join("\n\n");
}
