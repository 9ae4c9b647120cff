// The drawing: shows the part of a tree that is in view, moves to new places, pans and zooms.
import { card, curve, remark, svg } from "./tree_card.js";
import { ROOT, SIZES, below, box } from "./tree_layout.js";

const NEAREST = 2;
const FURTHEST = 0.12;
const READABLE = 0.5;
const MOVING_MS = 220;
const MARGIN = 120;
const EDGE = 48;
const LOWEST = 288;
const HIGHEST = 0.76;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class View {
  /** Draws into an svg element. `onPick(id)` when a node is clicked, `onFold(id)` when its branch is,
   *  `onWidth(width)` when the stage has another one. */
  constructor(stage, { onPick, onFold, onWidth }) {
    this.stage = stage;
    this.width = 0;
    this.kind = "thread";
    this.places = new Map();
    this.folded = new Set();
    this.chosen = null;
    this.at = { x: 24, y: 0, k: 1 };
    this.cards = new Map();
    this.lines = svg("g", { class: "edges", "aria-hidden": "true" });
    this.remarks = svg("g", { class: "remarks" });
    this.nodes = svg("g", { role: "presentation" });
    this.world = svg("g", { role: "presentation" }, this.lines, this.remarks, this.nodes);
    this.drawn = new Map();
    this.planned = 0;
    stage.replaceChildren(this.world);
    this.follow(onPick, onFold);
    new ResizeObserver(() => {
      const width = stage.clientWidth;
      // Hidden for a moment: there is nothing to fit into, and what was in view is wanted again.
      if (width === 0) return;
      if (this.width && width !== this.width) {
        this.at.x += (width - this.width) / 2;
        const at = this.goal?.get(this.chosen);
        if (at) this.reveal(at);
        onWidth(width);
      }
      this.width = width;
      this.paint();
    }).observe(stage);
  }

  /** Show these places, moving there from the ones before. */
  show(places, { kind, shape, folded, chosen }) {
    const before = this.places;
    [this.kind, this.shape, this.folded, this.chosen, this.goal] = [kind, shape, folded, chosen, places];
    this.most = Math.max(1, ...[...places.values()].map((at) => at.node.visits ?? 1));
    this.drawn.clear();
    this.nodes.replaceChildren();
    const begin = performance.now();
    cancelAnimationFrame(this.moving);
    if (still.matches || before.size === 0 || places.size > 600) {
      this.places = places;
      this.paint();
      return;
    }
    const from = new Map();
    for (const [id, to] of places) {
      let known = id;
      while (known !== null && !before.has(known)) known = places.get(known)?.parent ?? null;
      from.set(id, before.get(known) ?? to);
    }
    const frame = (now) => {
      const share = Math.min(1, (now - begin) / MOVING_MS);
      const eased = 1 - (1 - share) ** 3;
      this.places = new Map();
      for (const [id, to] of places) {
        const start = from.get(id);
        this.places.set(id, { ...to, x: start.x + (to.x - start.x) * eased, y: start.y + (to.y - start.y) * eased });
      }
      if (share === 1) this.places = places;
      else this.moving = requestAnimationFrame(frame);
      this.paint();
    };
    frame(begin);
  }

  /** Draw what is in view. */
  paint() {
    const { width, height } = this.stage.getBoundingClientRect();
    const { x, y, k } = this.at;
    this.world.setAttribute("transform", `translate(${x},${y}) scale(${k})`);
    this.stage.classList.toggle("far", k < READABLE);
    const size = SIZES[this.kind];
    const seen = { left: (-x - MARGIN) / k, top: (-y - MARGIN) / k, right: (width - x + MARGIN) / k, bottom: (height - y + MARGIN) / k };
    const wanted = new Set();
    const [lines, remarks] = [[], []];
    for (const [id, at] of this.places) {
      const from = this.places.get(at.parent);
      const inView = at.y + size.height > seen.top && at.y - size.height < seen.bottom;
      if (inView && at.x < seen.right && at.x + size.width > seen.left) wanted.add(id);
      if (!from) continue;
      const crosses = Math.max(at.y, from.y) > seen.top && Math.min(at.y, from.y) < seen.bottom;
      if (crosses && Math.min(at.x, from.x) < seen.right && Math.max(at.x, from.x) + size.width > seen.left) {
        lines.push(svg("path", { d: curve(from, at, this.kind, this.shape), class: [at.node.best && "best", at.node.live === false && "gone"].filter(Boolean).join(" ") || null }));
        const said = inView && k >= READABLE && this.shape === "down" ? remark(at.node) : null;
        if (said) {
          said.setAttribute("transform", `translate(${at.x},${at.y})`);
          remarks.push(said);
        }
      }
    }
    this.lines.replaceChildren(...lines);
    this.remarks.replaceChildren(...remarks);
    for (const [id, group] of this.drawn) {
      if (wanted.has(id)) continue;
      group.remove();
      this.drawn.delete(id);
    }
    for (const id of wanted) {
      const at = this.places.get(id);
      let group = this.drawn.get(id);
      if (!group) {
        group = card(at.node, this.kind, { shape: this.shape, most: this.most, folded: this.folded.has(id) ? below(at.node) : 0, chosen: id === this.chosen });
        group.setAttribute("aria-level", at.depth + 1);
        this.drawn.set(id, group);
        this.nodes.append(group);
      }
      group.setAttribute("transform", `translate(${at.x},${at.y})`);
    }
    if (this.drawn.has(this.chosen)) this.stage.setAttribute("aria-activedescendant", `tree-node-${this.chosen}`);
    else this.stage.removeAttribute("aria-activedescendant");
  }

  /** Mark a node and bring it into view. */
  choose(id, { near = true } = {}) {
    for (const [of, group] of this.drawn) {
      group.classList.toggle("chosen", of === id);
      group.setAttribute("aria-selected", String(of === id));
    }
    this.chosen = id;
    const at = (this.goal ?? this.places).get(id);
    if (at && near) this.reveal(at);
    this.soon();
  }

  reveal(at) {
    const { width, height } = this.stage.getBoundingClientRect();
    const size = SIZES[this.kind];
    const { k } = this.at;
    const [left, top] = [at.x * k + this.at.x, (at.y - size.height / 2) * k + this.at.y];
    const [right, bottom] = [left + size.width * k, top + size.height * k];
    if (right > width - 16) this.at.x -= Math.min(right - width + 32, left - 16);
    else if (left < 16) this.at.x += 32 - left;
    if (bottom > height - 16) this.at.y -= bottom - height + 32;
    else if (top < 16) this.at.y += 32 - top;
  }

  /** Show the whole tree, or as much of it from its root on as can be read. The stage is as high as that needs. */
  fit() {
    this.moved = false;
    const all = this.goal ?? this.places;
    const { width } = this.stage.getBoundingClientRect();
    if (all.size === 0 || width === 0) return;
    const around = box(all, this.kind);
    const [wide, high] = [around.right - around.left, around.bottom - around.top];
    const least = this.shape === "outline" ? Math.min(1, width / 340) : 0.64;
    const most = Math.max(HIGHEST * innerHeight, 352);
    const whole = Math.min((width - 40) / wide, (most - 2 * EDGE) / high, 1);
    const k = Math.max(whole, least);
    this.stage.style.height = `${Math.min(most, Math.max(LOWEST, high * k + 2 * EDGE))}px`;
    // Beside an opened node it is as high as that.
    const { height } = this.stage.getBoundingClientRect();
    const root = all.get(ROOT);
    const fitsIn = { x: wide * k <= width - 40, y: high * k <= height - EDGE };
    const size = SIZES[this.kind];
    const centre = { x: (width - k * (around.left + around.right)) / 2, y: (height - k * (around.top + around.bottom)) / 2 };
    const start = this.shape === "down" ? { x: width / 2 - k * (root.x + size.width / 2), y: EDGE - k * around.top } : { x: 20 - k * around.left, y: height / 2 - k * root.y };
    if (this.shape === "outline") start.y = EDGE - k * around.top;
    this.at = { k, x: fitsIn.x ? centre.x : start.x, y: fitsIn.y ? centre.y : start.y };
    this.soon();
  }

  zoom(factor, point) {
    this.moved = true;
    const { width, height } = this.stage.getBoundingClientRect();
    const [px, py] = point ?? [width / 2, height / 2];
    const k = Math.min(NEAREST, Math.max(FURTHEST, this.at.k * factor));
    const grown = k / this.at.k;
    this.at = { k, x: px - (px - this.at.x) * grown, y: py - (py - this.at.y) * grown };
    this.soon();
  }

  soon() {
    if (this.planned) return;
    this.planned = requestAnimationFrame(() => {
      this.planned = 0;
      this.paint();
    });
  }

  follow(onPick, onFold) {
    const held = new Map();
    let moved = 0;
    let apart = 0;
    const place = (event) => {
      const frame = this.stage.getBoundingClientRect();
      return [event.clientX - frame.left, event.clientY - frame.top];
    };
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      held.set(event.pointerId, place(event));
      moved = 0;
      apart = 0;
    });
    this.stage.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const now = place(event);
      held.set(event.pointerId, now);
      if (held.size === 2) {
        const [[ax, ay], [bx, by]] = held.values();
        const wide = Math.hypot(ax - bx, ay - by);
        if (apart) this.zoom(wide / apart, [(ax + bx) / 2, (ay + by) / 2]);
        apart = wide;
        moved = 9;
        return;
      }
      moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
      if (moved > 4 && !this.stage.hasPointerCapture(event.pointerId)) this.stage.setPointerCapture(event.pointerId);
      this.moved = true;
      this.at.x += now[0] - before[0];
      this.at.y += now[1] - before[1];
      this.soon();
    });
    for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, (event) => held.delete(event.pointerId));
    this.stage.addEventListener("click", (event) => {
      if (moved > 4) return;
      const fold = event.target.closest("[data-fold]");
      const picked = event.target.closest("[data-id]");
      if (fold) onFold(fold.dataset.fold);
      else if (picked) onPick(picked.dataset.id);
    });
    this.stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), place(event));
    }, { passive: false });
  }
}
