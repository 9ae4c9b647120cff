// Two texts side by side: lines that differ face each other, and within them the words that differ are marked. Texts go
// into the page as text, never as markup. <div class="diff" data-left="id" data-right="id"> draws itself.
const MOST_CELLS = 4_000_000;
const MOST_ROWS = 4_000;
const AROUND = 3;

/** What turns `a` into `b`: runs [kind, partOfA, partOfB] with kind "same" or "differs". Arrays of strings. */
export function compared(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const runs = [];
  if (start) runs.push(["same", a.slice(0, start), b.slice(0, start)]);
  runs.push(...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)));
  if (end) runs.push(["same", a.slice(a.length - end), b.slice(b.length - end)]);
  return runs;
}

function middle(a, b) {
  if (!a.length && !b.length) return [];
  // The longest common part takes n × m steps; what is larger is shown as replaced.
  if (!a.length || !b.length || a.length * b.length > MOST_CELLS) return [["differs", a, b]];
  const width = b.length + 1;
  const long = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      long[i * width + j] = a[i] === b[j] ? long[(i + 1) * width + j + 1] + 1 : Math.max(long[(i + 1) * width + j], long[i * width + j + 1]);
    }
  }
  const runs = [];
  const add = (kind, left, right) => {
    const last = runs.at(-1);
    if (last?.[0] === kind) {
      last[1].push(...left);
      last[2].push(...right);
    } else runs.push([kind, [...left], [...right]]);
  };
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) add("same", [a[i++]], [b[j++]]);
    else if (j >= b.length || (i < a.length && long[(i + 1) * width + j] >= long[i * width + j + 1])) add("differs", [a[i++]], []);
    else add("differs", [], [b[j++]]);
  }
  return runs;
}

/** Draw the difference into `container`; `titles` stand above the columns. Gives whether the texts differ. */
export function sideBySide(container, left, right, titles = []) {
  const rows = [];
  for (const [kind, a, b] of compared(left.split("\n"), right.split("\n"))) {
    for (let at = 0; at < Math.max(a.length, b.length); at += 1) rows.push([kind, a[at], b[at]]);
  }
  container.replaceChildren();
  if (titles.length) container.append(...titles.map((title) => cell("title-cell", title)));
  const near = rows.map((_, at) => rows.slice(Math.max(0, at - AROUND), at + AROUND + 1).some(([kind]) => kind === "differs"));
  const differ = near.includes(true);
  for (let at = 0, drawn = 0; at < rows.length; at += 1) {
    let gap = 0;
    while (differ && at + gap < rows.length && !near[at + gap]) gap += 1;
    if (gap > 1) {
      container.append(folded(rows.slice(at, at + gap)));
      at += gap - 1;
    } else if (drawn < MOST_ROWS) {
      container.append(...cells(rows[at]));
      drawn += 1;
    } else {
      container.append(cell("gap", `${rows.length - at} more lines are not drawn.`));
      break;
    }
  }
  return left !== right;
}

function folded(rows) {
  const line = cell("gap");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `${rows.length} equal lines`;
  button.onclick = () => line.replaceWith(...rows.slice(0, MOST_ROWS).flatMap(cells));
  line.append(button);
  return line;
}

function cells([kind, left, right]) {
  if (kind === "same") return [cell("same-left", left), cell("same-right", right)];
  if (left === undefined) return [cell("cell-none"), cell("cell-add", right, "ins")];
  if (right === undefined) return [cell("cell-del", left, "del"), cell("cell-none")];
  const old = cell("cell-del");
  const fresh = cell("cell-add");
  for (const [same, a, b] of joined(compared(words(left), words(right)))) {
    old.append(same === "same" ? a.join("") : marked("del", a.join("")));
    fresh.append(same === "same" ? b.join("") : marked("ins", b.join("")));
  }
  return [old, fresh];
}

/** Words that differ with only a space between them are marked as one. */
function joined(runs) {
  const made = [];
  for (const [kind, a, b] of runs) {
    const between = kind === "same" && a.every((part) => /^\s+$/.test(part));
    const last = made.at(-1);
    if (last?.[0] === "differs" && (kind === "differs" || between)) {
      last[1].push(...a);
      last[2].push(...b);
    } else made.push([kind, [...a], [...b]]);
  }
  return made;
}

function words(line) {
  return line.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? [];
}

function marked(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return text ? element : "";
}

function cell(name, text = "", mark = "") {
  const element = document.createElement("div");
  element.className = name;
  if (mark) element.append(marked(mark, text));
  else element.textContent = text;
  return element;
}

for (const container of document.querySelectorAll("[data-left][data-right]")) {
  const [left, right] = [container.dataset.left, container.dataset.right].map((id) => document.getElementById(id));
  sideBySide(container, left.textContent, right.textContent, [left.title, right.title]);
}
