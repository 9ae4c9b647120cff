// Keys: one is made, its text is shown once and is gone from the page when the dialog closes.
import { call, refresh, valuesOf } from "./page.js";

const DAY_MS = 86_400_000;
const form = document.getElementById("make-key");
const secret = document.getElementById("secret");

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const refused = document.getElementById("key-refused");
  const { days, scopes = [], ...given } = valuesOf(form);
  const body = { ...given, scopes };
  if (days) body.expires_at = new Date(Date.now() + Number(days) * DAY_MS).toISOString();
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  refused.hidden = true;
  try {
    const answer = await call("POST", "/api/keys", body, { quiet: true });
    document.getElementById("new-key").close();
    form.reset();
    secret.textContent = answer.body.key;
    document.getElementById("made-key").showModal();
    await refresh(["keys"]);
  } catch (error) {
    refused.textContent = scopes.length ? error.message : "Choose at least one thing that it may do.";
    refused.hidden = false;
  } finally {
    button.disabled = false;
  }
});

document.getElementById("made-key")?.addEventListener("close", () => {
  secret.textContent = "";
});
