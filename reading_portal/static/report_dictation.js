// Dictation through the browser's own speech interface, where there is one: what is said is written at the cursor.
import { say, toast } from "./portal.js";
import { write } from "./report_macros.js";

const Recognition = window.SpeechRecognition ?? window.webkitSpeechRecognition;
const TOLD = "dictation:told";

/** `fieldNow` answers the text that is being written. Answers a function that starts or stops, or null without the interface. */
export function dictateWith(button, fieldNow) {
  if (!Recognition) return null;
  button.hidden = false;
  let heard = null;
  function stop() { heard?.stop(); }
  function start() {
    const recognition = new Recognition();
    // A browser that can listen by itself need not send the voice anywhere; others do, and that is said once.
    if ("processLocally" in recognition) recognition.processLocally = true;
    else if (!localStorage.getItem(TOLD)) {
      if (!window.confirm(say("This browser may send your voice to its maker to turn it into text. Dictate all the same?"))) return;
      localStorage.setItem(TOLD, "1");
    }
    recognition.lang = document.documentElement.lang;
    recognition.continuous = true;
    recognition.addEventListener("result", (event) => {
      const said = [...event.results].slice(event.resultIndex).filter((one) => one.isFinal).map((one) => one[0].transcript).join("");
      const field = fieldNow();
      if (said && !field.readOnly) write(field, field.selectionStart, field.selectionEnd, said);
    });
    recognition.addEventListener("error", ({ error }) => {
      if (error !== "aborted" && error !== "no-speech")
        toast(say(error === "not-allowed" || error === "audio-capture" ? "There is no microphone, or the browser may not use it." : "The browser cannot turn speech into text here."), "bad");
    });
    recognition.addEventListener("end", () => { heard = null; button.setAttribute("aria-pressed", "false"); });
    heard = recognition;
    button.setAttribute("aria-pressed", "true");
    recognition.start();
  }
  const toggle = () => (heard ? stop() : start());
  button.addEventListener("click", toggle);
  return toggle;
}
