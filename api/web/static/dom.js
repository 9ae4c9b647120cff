// Elements made by scripts. Text goes in as text, so nothing that is shown can be markup.

/** An element with its properties and children: `make("a", { href, className: "id" }, "words", another)`. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A button that does `onclick`. */
export function button(words, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, words);
}

/** Names and values as a list: `facts({ erased_at: "…", runs: [link, link] })`. */
export function facts(values) {
  const rows = Object.entries(values).map(([name, value]) => {
    return make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, ...[value].flat()));
  });
  return make("dl", { className: "facts" }, ...rows);
}
