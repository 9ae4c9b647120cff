// The notices of a page: what happened, at the top of its main part. Text only, so nothing in it can be markup.

/** Show a notice and give its element. `tone`: calm, good, bad, warn. One with the same text takes the place of the old. */
export function notice(text, tone = "calm") {
  const region = document.getElementById("notices");
  for (const old of region.children) if (old.firstChild.textContent === text) old.remove();
  const line = document.createElement("p");
  line.className = `notice ${tone}`;
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "icon-button";
  close.setAttribute("aria-label", "Dismiss");
  close.textContent = "×";
  close.onclick = () => line.remove();
  line.append(words, close);
  region.append(line);
  line.scrollIntoView({ block: "nearest" });
  return line;
}

/** Take all notices away. */
export function quiet() {
  document.getElementById("notices").replaceChildren();
}

/** Say whether the page is connected: `live`, `reconnecting`, or nothing. */
export function say(state, id = "live") {
  const badge = document.getElementById(id);
  if (!badge) return;
  badge.hidden = state === "";
  badge.textContent = state;
  badge.classList.toggle("away", state === "reconnecting");
}
