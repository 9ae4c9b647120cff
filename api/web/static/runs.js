// The list of runs keeps itself up to date while a run in it has not ended.
import { refresh, say } from "./page.js";

const EVERY_MS = 2000;

async function again() {
  const list = document.getElementById("list");
  if (list.dataset.unfinished !== "yes") {
    say("");
    return;
  }
  const busy = list.contains(document.activeElement) || document.hidden;
  try {
    if (!busy) say((await refresh(["list"])) ? "live" : "reconnecting");
  } catch {
    say("reconnecting");
  }
  setTimeout(again, EVERY_MS);
}

if (document.getElementById("list").dataset.unfinished === "yes") say("live");
setTimeout(again, EVERY_MS);
