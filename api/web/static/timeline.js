// Choosing a part of the axis with the pointer. What was chosen goes into the address, and the server draws it: the table
// below is always that of the address, with or without this script.
import { notice, refresh } from "./page.js";

const SMALLEST = 4;
let from = null;

function plotOf(event) {
  return event.target.closest?.("#timeline-plot");
}

/** Where the pointer is, from 0 to 1. */
function share(plot, event) {
  const box = plot.getBoundingClientRect();
  return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
}

function paint(begin, end) {
  const brush = document.getElementById("timeline-brush");
  brush.setAttribute("x", String(1000 * Math.min(begin, end)));
  brush.setAttribute("width", String(1000 * Math.abs(end - begin)));
}

document.addEventListener("pointerdown", (event) => {
  const plot = plotOf(event);
  if (!plot || event.button) return;
  from = { plot, at: share(plot, event), x: event.clientX };
});

document.addEventListener("pointermove", (event) => {
  if (from) paint(from.at, share(from.plot, event));
});

document.addEventListener("pointercancel", () => {
  if (from) paint(0, 0);
  from = null;
});

document.addEventListener("pointerup", async (event) => {
  if (!from) return;
  const { plot, at, x } = from;
  const to = share(plot, event);
  from = null;
  if (Math.abs(event.clientX - x) < SMALLEST) return paint(0, 0);
  const [begin, end] = [plot.dataset.begin, plot.dataset.end].map((time) => Date.parse(time));
  const time = (part) => new Date(begin + part * (end - begin)).toISOString();
  const url = new URL(location.href);
  url.searchParams.delete("cursor");
  url.searchParams.set("from", time(Math.min(at, to)));
  // The axis ends with the last of what happened; a millisecond is less than the server counts in.
  if (Math.max(at, to) < 1) url.searchParams.set("to", time(Math.max(at, to)));
  else url.searchParams.delete("to");
  history.pushState(null, "", url);
  await show(url);
});

async function show(url) {
  if (!(await refresh(["timeline", "timeline-filter"], url))) notice("This part of the timeline cannot be shown; load the page again.", "bad");
}

addEventListener("popstate", () => show(location.href));
