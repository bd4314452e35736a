// Addendum and withdrawal: signed on the spot.
import { reason } from "./portal.js";
import { signed } from "./proof.js";

for (const form of document.querySelectorAll("form[data-report]")) {
  const line = form.querySelector("[data-problem]");
  const send = form.querySelector(".end button:last-child");
  const secret = form.elements.secret;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { secret: typed, ...said } = Object.fromEntries(new FormData(form));
    send.disabled = true;
    const answer = await signed(form.dataset.report, said, typed);
    send.disabled = false;
    secret.value = "";
    if (answer.ok) { location.href = location.pathname; return; }
    line.textContent = reason(answer);
    line.hidden = false;
    secret.focus();
  });
  // What was written stays for the next try, the secret does not.
  form.closest("dialog").addEventListener("close", () => { secret.value = ""; line.hidden = true; });
}
