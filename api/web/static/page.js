// What every page does: times in the reader's zone, keys, the help.
const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** Put the times below `root` into the reader's zone. */
export function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.title = element.dateTime;
    element.textContent = ("clock" in element.dataset ? CLOCK : SHORT).format(at);
  }
}

/** Fetch this page again and put the parts with these ids in the place of the old ones. */
export async function refresh(ids) {
  const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!reply.ok) return null;
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
  localise(fresh);
  for (const id of ids) {
    const old = document.getElementById(id);
    const part = fresh.getElementById(id);
    if (old && part) old.replaceWith(document.adoptNode(part));
  }
  return fresh;
}

/** Say whether the page is connected: `live`, `reconnecting`, or nothing. */
export function say(state) {
  const badge = document.getElementById("live");
  badge.hidden = state === "";
  badge.textContent = state;
  badge.classList.toggle("away", state === "reconnecting");
}

function move(step) {
  const rows = [...document.querySelectorAll("[data-row], .log > li")];
  const at = rows.findIndex((row) => row.classList.contains("here"));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  if (!next) return;
  rows[at]?.classList.remove("here");
  next.classList.add("here");
  next.querySelector("a, summary")?.focus();
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "?") document.getElementById("help").showModal();
  else if (event.key === "/") document.querySelector("[data-filter]")?.focus();
  else return;
  event.preventDefault();
});

localise(document);
