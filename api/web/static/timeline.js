// Choosing a part of the axis with the pointer: it goes into the fields of the filter, which is sent.
const SMALLEST = 4;
let from = null;

/** Where the pointer is on the axis, from 0 to 1. */
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
  const plot = event.target.closest?.("#timeline-plot");
  if (plot && !event.button) from = { plot, at: share(plot, event), x: event.clientX };
});

document.addEventListener("pointermove", (event) => {
  if (from) paint(from.at, share(from.plot, event));
});

document.addEventListener("pointercancel", () => {
  if (from) paint(0, 0);
  from = null;
});

document.addEventListener("pointerup", (event) => {
  if (!from) return;
  const { plot, at, x } = from;
  const to = share(plot, event);
  from = null;
  if (Math.abs(event.clientX - x) < SMALLEST) return paint(0, 0);
  const [begin, end] = [plot.dataset.begin, plot.dataset.end].map((time) => Date.parse(time));
  const time = (part) => new Date(begin + part * (end - begin)).toISOString().slice(0, -1);
  const form = document.getElementById("timeline-filter");
  form.elements.from.value = time(Math.min(at, to));
  // The axis ends with the last of what happened; a millisecond is less than the server counts in.
  form.elements.to.value = Math.max(at, to) < 1 ? time(Math.max(at, to)) : "";
  form.requestSubmit();
});
