// Two texts side by side: lines that differ face each other, and within them the words that differ are marked. Texts
// go into the page as text, never as markup. <div class="diff" data-left="id" data-right="id"> draws itself. Lines and
// words are compared by jsdiff, which the page loads beside this; without it one text counts as replaced by the other.
import { button, make } from "./page.js";

const MOST_MS = 500;
const MOST_ROWS = 4_000;
const AROUND = 3;
const SPACE = /^\s+$/;
const WORDS = /[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu;

/**
 * What turns `a` into `b`, arrays of strings: runs `{differs, left, right}`. What matches `between` and follows a
 * difference is part of it. What could not be compared `until` then is one run.
 */
function compared(a, b, until, between = null) {
  const timeout = Math.max(1, until - Date.now());
  const parts = window.Diff?.diffArrays(a, b, { timeout }) ?? [{ removed: true, value: a }, { added: true, value: b }];
  const runs = [];
  for (const { added, removed, value } of parts) {
    const last = runs.at(-1);
    const differs = added || removed || Boolean(last?.differs && between && value.every((part) => between.test(part)));
    const run = last?.differs === differs ? last : { differs, left: [], right: [] };
    if (run !== last) runs.push(run);
    if (!added) run.left = run.left.concat(value);
    if (!removed) run.right = run.right.concat(value);
  }
  return runs;
}

/** Draw the difference into `container`; `titles` stand above the columns. */
export function sideBySide(container, left, right, titles) {
  const until = Date.now() + MOST_MS;
  const rows = compared(left.split("\n"), right.split("\n"), until).flatMap((run) => {
    const longer = run.left.length > run.right.length ? run.left : run.right;
    return longer.map((_, at) => ({ differs: run.differs, left: run.left[at], right: run.right[at] }));
  });
  const near = rows.map((_, at) => rows.slice(Math.max(0, at - AROUND), at + AROUND + 1).some((row) => row.differs));
  const differ = near.includes(true);
  container.replaceChildren(...titles.map((title) => cell("title-cell", title)));
  for (let at = 0, drawn = 0; at < rows.length; at += 1) {
    let gap = 0;
    while (differ && at + gap < rows.length && !near[at + gap]) gap += 1;
    if (gap > 1) {
      container.append(folded(rows.slice(at, at + gap)));
      at += gap - 1;
    } else if (drawn < MOST_ROWS) {
      container.append(...cells(rows[at], until));
      drawn += 1;
    } else {
      container.append(cell("gap", `${rows.length - at} more lines are not drawn.`));
      break;
    }
  }
}

function folded(rows) {
  const unfold = () => line.replaceWith(...rows.slice(0, MOST_ROWS).flatMap((row) => cells(row)));
  const line = cell("gap", button(`${rows.length} equal lines`, unfold));
  return line;
}

function cells({ differs, left, right }, until) {
  if (!differs) return [cell("same-left", left), cell("same-right", right)];
  if (left === undefined) return [cell("cell-none"), cell("cell-add", make("ins", {}, right))];
  if (right === undefined) return [cell("cell-del", make("del", {}, left)), cell("cell-none")];
  const runs = compared(left.match(WORDS) ?? [], right.match(WORDS) ?? [], until, SPACE);
  const shown = (tag, parts, marked) => (marked && parts.length ? make(tag, {}, parts.join("")) : parts.join(""));
  return [
    cell("cell-del", ...runs.map((run) => shown("del", run.left, run.differs))),
    cell("cell-add", ...runs.map((run) => shown("ins", run.right, run.differs))),
  ];
}

function cell(className, ...parts) {
  return make("div", { className }, ...parts);
}

// Without the library the page's own rendering of the difference stays.
function draw() {
  for (const container of window.Diff ? document.querySelectorAll("[data-left][data-right]") : []) {
    const [left, right] = [container.dataset.left, container.dataset.right].map((id) => document.getElementById(id));
    sideBySide(container, left.textContent, right.textContent, [left.title, right.title]);
  }
}

document.addEventListener("htmx:after:swap", draw);
draw();
