// Keys: one is made, its text is shown once and is gone from the page when the dialog closes.
import { act, valuesOf } from "./page.js";

const DAY_MS = 86_400_000;
const form = document.getElementById("make-key");
const secret = document.getElementById("secret");
const refused = document.getElementById("key-refused");

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const { days, scopes = [], ...body } = valuesOf(form);
  if (days) body.expires_at = new Date(Date.now() + Number(days) * DAY_MS).toISOString();
  refused.hidden = true;
  act(form, { ...body, scopes });
});

form?.addEventListener("refused", (event) => {
  event.preventDefault();
  refused.textContent = valuesOf(form).scopes ? event.detail.message : "Choose at least one thing that it may do.";
  refused.hidden = false;
});

form?.addEventListener("done", ({ detail: { body } }) => {
  form.closest("dialog").close();
  form.reset();
  secret.textContent = body.key;
  document.getElementById("made-key").showModal();
});

document.getElementById("made-key")?.addEventListener("close", () => {
  secret.textContent = "";
});
