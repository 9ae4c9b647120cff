// Charts over uPlot in the colours of the page. It redraws when the theme or the width changes.
import uPlot from "./vendor/uplot.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** The value of a custom property of the page. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * Lines over steps in `element`: `series` is a list of `{label, colour: "--accent", fill, dash}`, data come with
 * `set(columns)` (x first). `onPick(index)` for a click. `at(index)` marks a step. `x` says what the axis shows for a
 * value.
 */
export function stepChart(element, { series, height = 120, onPick = () => {}, x = String }) {
  let chart = null;
  let columns = [[], ...series.map(() => [])];
  let marked = -1;

  function drawMark(plot) {
    const value = columns[0][marked];
    if (value === undefined) return;
    const place = Math.round(plot.valToPos(value, "x", true));
    plot.ctx.fillStyle = colour("--text");
    plot.ctx.fillRect(place - devicePixelRatio / 2, plot.bbox.top, devicePixelRatio, plot.bbox.height);
  }

  function axis(more) {
    const grid = { stroke: colour("--line"), width: 1 };
    return { stroke: colour("--soft"), grid, ticks: { show: false }, font: "11px system-ui, sans-serif", ...more };
  }

  function line({ label, colour: name, fill, dash }) {
    return {
      label,
      stroke: colour(name),
      fill: fill ? `color-mix(in srgb, ${colour(name)} ${fill}%, transparent)` : undefined,
      width: 1.5,
      dash,
      points: { show: (plot) => plot.data[0].length < 2 },
      paths: uPlot.paths.stepped({ align: 1 }),
    };
  }

  function make() {
    chart?.destroy();
    if (element.clientWidth === 0) return;
    const click = (plot) => () => Number.isInteger(plot.cursor.idx) && onPick(plot.cursor.idx);
    const incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
    chart = new uPlot({
      width: element.clientWidth,
      height,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, bind: { click } },
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.08)] } },
      axes: [
        axis({ size: 24, incrs, values: (_, ticks) => ticks.map(x) }),
        axis({ size: 44, space: 32, values: (_, ticks) => ticks.map((tick) => short.format(tick)) }),
      ],
      series: [{}, ...series.map(line)],
      hooks: { draw: [drawMark] },
    }, columns, element);
  }

  dark.addEventListener("change", make);
  let width = 0;
  new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    make();
  }).observe(element);
  return {
    set(fresh) {
      columns = fresh;
      if (chart) chart.setData(columns);
      else make();
    },
    at(index) {
      marked = index;
      chart?.redraw(false);
    },
  };
}
