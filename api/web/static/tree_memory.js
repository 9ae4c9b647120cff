// Above a thread: its working memory step by step, live against pruned tokens. A click goes to that step of the tree.
import { stepChart } from "./charts.js";

const now = document.getElementById("memory-now");
const exact = new Intl.NumberFormat("en");
const chart = stepChart(document.getElementById("memory"), {
  series: [
    { label: "pruned so far", colour: "--k6", fill: 14, dash: [3, 3] },
    { label: "live", colour: "--accent", fill: 22 },
  ],
  onPick: (index) => document.dispatchEvent(new CustomEvent("tree:pick", { detail: index })),
});
let drawn = 0;

document.addEventListener("tree:step", ({ detail: { stops, index } }) => {
  if (stops.length !== drawn) {
    drawn = stops.length;
    chart.set([stops.map((_, place) => place + 1), stops.map((stop) => stop.pruned), stops.map((stop) => stop.live)]);
  }
  chart.at(index);
  const stop = stops[index];
  now.textContent = stop ? `${exact.format(stop.live)} live, ${exact.format(stop.pruned)} pruned` : "";
});
document.dispatchEvent(new CustomEvent("tree:ask"));
