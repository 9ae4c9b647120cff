// Times in the zone of the reader, and how long ago they were.
const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const TWO = "2-digit";
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: TWO, minute: TWO, second: TWO, hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const STEPS = [[60, "s"], [60, "min"], [24, "h"], [30, "d"]];
const EVERY_MS = 15_000;

function ago(at) {
  const distance = (Date.now() - at.getTime()) / 1000;
  let amount = Math.abs(distance);
  if (amount < 5) return "just now";
  for (const [size, unit] of STEPS) {
    if (amount < size) return distance < 0 ? `in ${Math.round(amount)} ${unit}` : `${Math.round(amount)} ${unit} ago`;
    amount /= size;
  }
  return DAY.format(at);
}

/** Put the times below `root` into the reader's zone: `data-ago` as a distance, `data-clock` as the time of day. */
export function localise(root, which = "time[datetime]") {
  for (const element of root.querySelectorAll(which)) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.title = SHORT.format(at);
    if ("ago" in element.dataset) element.textContent = ago(at);
    else element.textContent = "clock" in element.dataset ? CLOCK.format(at) : element.title;
  }
}

setInterval(() => {
  if (!document.hidden) localise(document, "time[data-ago]");
}, EVERY_MS);
