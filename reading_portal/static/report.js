// Addendum and withdrawal: signed on the spot.
import { call, reason } from "./portal.js";

for (const form of document.querySelectorAll("form[data-report]")) form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { secret, ...said } = Object.fromEntries(new FormData(form));
  const proof = /^\d{6,8}$/.test(secret) ? { otp: secret } : { password: secret };
  const send = form.querySelector(".end button:last-child");
  const line = form.querySelector("[data-problem]");
  send.disabled = true;
  const answer = await call("POST", form.dataset.report, { ...said, ...proof });
  send.disabled = false;
  if (answer.ok) { location.href = location.pathname; return; }
  line.textContent = reason(answer);
  line.hidden = false;
  form.elements.secret.value = "";
});
