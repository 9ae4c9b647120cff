// The drawing: shows the part of a tree that is in view, moves to new places, pans and zooms.
import { make } from "./dom.js";
import { card, curve } from "./tree_card.js";
import { ROOT, SIZES, below, box } from "./tree_layout.js";

const NEAREST = 2;
const FURTHEST = 0.12;
const READABLE = 0.5;
const MOVING = { duration: 220, easing: "ease-out" };
const MARGIN = 120;
const EDGE = 48;
const LOWEST = 288;
const HIGHEST = 0.76;
const CLICK = 4;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class View {
  /** Draws into an element. `onPick(id)` when a node is clicked, `onFold(id)` when its branch is, `onWidth(width)` when
   *  the stage has another one. */
  constructor(stage, { onPick, onFold, onWidth }) {
    this.stage = stage;
    this.width = 0;
    this.kind = "thread";
    this.places = new Map();
    this.chosen = null;
    this.at = { x: 24, y: 0, k: 1 };
    this.drawn = new Map();
    this.planned = 0;
    const svg = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);
    this.lines = svg("svg");
    this.lines.setAttribute("aria-hidden", "true");
    this.paths = { plain: svg("path"), gone: svg("path"), best: svg("path") };
    for (const [name, path] of Object.entries(this.paths)) path.setAttribute("class", name);
    this.lines.append(...Object.values(this.paths));
    this.world = make("div", { className: "world", role: "presentation" }, this.lines);
    stage.replaceChildren(this.world);
    this.follow(onPick, onFold);
    new ResizeObserver(() => {
      const width = stage.clientWidth;
      // Hidden for a moment: there is nothing to fit into, and what was in view is wanted again.
      if (width === 0) return;
      if (this.width && width !== this.width) {
        this.at.x += (width - this.width) / 2;
        this.reveal(this.chosen);
        onWidth(width);
      }
      this.width = width;
      this.paint();
    }).observe(stage);
  }

  /** Show these places; cards move there from the ones before. */
  show(places, { kind, shape, folded, chosen }) {
    const before = this.places;
    Object.assign(this, { places, kind, shape, folded, chosen });
    this.most = 1;
    for (const { node } of places.values()) this.most = Math.max(this.most, node.visits ?? 1);
    for (const element of this.drawn.values()) element.remove();
    this.drawn.clear();
    this.paint();
    if (still.matches || before.size === 0) return;
    for (const [id, element] of this.drawn) {
      let known = id;
      while (known !== null && !before.has(known)) known = places.get(known)?.parent ?? null;
      if (before.has(known)) element.animate({ transform: [this.moved(before.get(known)), this.moved(places.get(id))] }, MOVING);
    }
    this.lines.animate({ opacity: [0, 1] }, MOVING);
  }

  /** The transform that puts a card in its place. */
  moved({ x, y }) {
    return `translate(${x}px,${y - SIZES[this.kind].height / 2}px)`;
  }

  /** Draw what is in view. */
  paint() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const { x, y, k } = this.at;
    this.world.style.transform = `translate(${x}px,${y}px) scale(${k})`;
    this.stage.classList.toggle("far", k < READABLE);
    this.stage.classList.toggle("down", this.shape === "down");
    const size = SIZES[this.kind];
    const seen = { left: (-x - MARGIN) / k - size.width, top: (-y - MARGIN) / k - size.height, right: (width - x + MARGIN) / k, bottom: (height - y + MARGIN) / k + size.height };
    const wanted = new Set();
    const lines = { plain: "", gone: "", best: "" };
    for (const [id, at] of this.places) {
      if (at.y > seen.top && at.y < seen.bottom && at.x > seen.left && at.x < seen.right) wanted.add(id);
      const from = this.places.get(at.parent);
      if (!from || Math.max(at.y, from.y) < seen.top || Math.min(at.y, from.y) > seen.bottom) continue;
      if (Math.max(at.x, from.x) < seen.left || Math.min(at.x, from.x) > seen.right) continue;
      lines[at.node.best ? "best" : at.node.live === false ? "gone" : "plain"] += curve(from, at, this.kind, this.shape);
    }
    for (const [name, path] of Object.entries(this.paths)) path.setAttribute("d", lines[name]);
    for (const [id, element] of this.drawn) {
      if (wanted.has(id)) continue;
      element.remove();
      this.drawn.delete(id);
    }
    const fresh = [];
    for (const id of wanted) {
      if (this.drawn.has(id)) continue;
      const at = this.places.get(id);
      const element = card(at.node, this.kind, { most: this.most, folded: this.folded.has(id) ? below(at.node) : 0, chosen: id === this.chosen });
      element.ariaLevel = at.depth + 1;
      element.style.transform = this.moved(at);
      this.drawn.set(id, element);
      fresh.push(element);
    }
    this.world.append(...fresh);
    if (this.drawn.has(this.chosen)) this.stage.setAttribute("aria-activedescendant", `tree-node-${this.chosen}`);
    else this.stage.removeAttribute("aria-activedescendant");
  }

  /** Mark a node and bring it into view. */
  choose(id) {
    this.chosen = id;
    for (const [of, element] of this.drawn) {
      element.classList.toggle("chosen", of === id);
      element.ariaSelected = String(of === id);
    }
    this.reveal(id);
    this.soon();
  }

  reveal(id) {
    const at = this.places.get(id);
    if (!at) return;
    const { clientWidth: width, clientHeight: height } = this.stage;
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
    this.free = false;
    const { clientWidth: width } = this.stage;
    const root = this.places.get(ROOT);
    if (!root || width === 0) return;
    const around = box(this.places, this.kind);
    const [wide, high] = [around.right - around.left, around.bottom - around.top];
    const least = this.shape === "outline" ? Math.min(1, width / 340) : 0.8;
    const most = Math.max(HIGHEST * innerHeight, 352);
    const k = Math.max(Math.min((width - 40) / wide, (most - 2 * EDGE) / high, 1), least);
    this.stage.style.height = `${Math.min(most, Math.max(LOWEST, high * k + 2 * EDGE))}px`;
    // Beside an opened node it is as high as that.
    const { clientHeight: height } = this.stage;
    const begin = { x: 20 - k * around.left, y: EDGE - k * around.top };
    if (this.shape === "down") begin.x = width / 2 - k * (root.x + SIZES[this.kind].width / 2);
    if (this.shape === "right") begin.y = height / 2 - k * root.y;
    const x = wide * k <= width - 40 ? (width - k * (around.left + around.right)) / 2 : begin.x;
    const y = high * k <= height - EDGE ? (height - k * (around.top + around.bottom)) / 2 : begin.y;
    this.at = { k, x, y };
    this.soon();
  }

  /** Nearer or further around a point of the stage, or around its middle. */
  zoom(factor, [px, py] = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    this.free = true;
    const k = Math.min(NEAREST, Math.max(FURTHEST, this.at.k * factor));
    const grown = k / this.at.k;
    this.at = { k, x: px - (px - this.at.x) * grown, y: py - (py - this.at.y) * grown };
    this.soon();
  }

  soon() {
    this.planned ||= requestAnimationFrame(() => {
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
    const on = (type, act) => this.stage.addEventListener(type, act, { passive: false });
    on("pointerdown", (event) => {
      if (event.button !== 0) return;
      held.set(event.pointerId, place(event));
      [moved, apart] = [0, 0];
    });
    on("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const now = place(event);
      held.set(event.pointerId, now);
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (held.size === 2) {
        const [[ax, ay], [bx, by]] = held.values();
        const wide = Math.hypot(ax - bx, ay - by);
        if (apart) this.zoom(wide / apart, [(ax + bx) / 2, (ay + by) / 2]);
        apart = wide;
        return;
      }
      if (moved > CLICK) this.stage.setPointerCapture(event.pointerId);
      this.free = true;
      this.at.x += now[0] - before[0];
      this.at.y += now[1] - before[1];
      this.soon();
    });
    for (const end of ["pointerup", "pointercancel"]) on(end, (event) => held.delete(event.pointerId));
    on("click", ({ target }) => {
      if (moved > CLICK) return;
      const fold = target.closest("[data-fold]");
      const picked = target.closest("[data-id]");
      if (fold) onFold(fold.dataset.fold);
      else if (picked) onPick(picked.dataset.id);
    });
    on("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), place(event));
    });
  }
}
