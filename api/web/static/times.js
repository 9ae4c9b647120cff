// Times in the zone of the reader, and how long ago they were.
const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const STEPS = [[60, "s"], [60, "min"], [24, "h"], [30, "d"]];
const EVERY_MS = 15_000;

function ago(at) {
  let amount = (Date.now() - at.getTime()) / 1000;
  const later = amount < 0;
  amount = Math.abs(amount);
  if (amount < 5) return "just now";
  for (const [size, unit] of STEPS) {
    if (amount < size) return later ? `in ${Math.round(amount)} ${unit}` : `${Math.round(amount)} ${unit} ago`;
    amount /= size;
  }
  return DAY.format(at);
}

/** Put the times below `root` into the reader's zone: `data-ago` as a distance, `data-clock` as the time of day. */
export function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const whole = SHORT.format(at);
    element.title = whole;
    if ("ago" in element.dataset) element.textContent = ago(at);
    else element.textContent = "clock" in element.dataset ? CLOCK.format(at) : whole;
  }
}

setInterval(() => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("time[data-ago]")) element.textContent = ago(new Date(element.dateTime));
}, EVERY_MS);
