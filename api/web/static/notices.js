// The notices of a page: what happened, at the top of its main part.
import { button, make } from "./dom.js";

/** Show a notice, `more` elements behind its text. `tone`: calm, good, bad, warn. The same again replaces the old. */
export function notice(text, tone = "calm", ...more) {
  const region = document.getElementById("notices");
  for (const old of region.children) if (old.firstChild.textContent === text) old.remove();
  const close = button("×", () => line.remove(), { className: "icon-button", ariaLabel: "Dismiss" });
  const line = make("p", { className: `notice ${tone}` }, make("span", {}, text, ...more), close);
  region.append(line);
  line.scrollIntoView({ block: "nearest" });
}

/** Say whether the page is connected: `live`, `reconnecting`, or nothing. */
export function say(state) {
  const badge = document.getElementById("live");
  if (!badge) return;
  badge.hidden = state === "";
  badge.textContent = state;
  badge.classList.toggle("away", state === "reconnecting");
}
