// Making and changing elements. All text goes in as text: whatever a model or a client wrote is never markup.

const SVG = "http://www.w3.org/2000/svg";

export const by = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

export const draw = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

/** Set a text; what is the same already is left alone, so that nobody loses a selection and nothing is read twice. */
export function put(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Have one child for each item, in order. Those that are there stay, and with them focus and selection. */
export function keyed(parent, items, keyOf, create, update) {
  const known = new Map();
  for (const child of [...parent.children]) {
    if (known.has(child.dataset.key)) child.remove();
    else known.set(child.dataset.key, child);
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    if (child) known.delete(key);
    else {
      child = create(item);
      child.dataset.key = key;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
  for (const gone of known.values()) gone.remove();
}

/**
 * A table with these columns: `{name, title, cell(place, item)}`. name: the class of its cells, `brief` for what is not
 * to be broken, `number`, `wide` or none. The roles hold where narrow screens make cards of it.
 */
export class Table {
  constructor(place, label, columns, keyOf) {
    this.columns = columns;
    this.keyOf = keyOf;
    const heads = columns.map((column) => make("th", { scope: "col", role: "columnheader" }, column.title));
    this.body = make("tbody", { role: "rowgroup" });
    this.table = make("table", { role: "table", "aria-label": label }, [
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, heads)),
      this.body,
    ]);
    place.append(this.table);
    this.show([]);
  }

  show(items) {
    const create = () => make("tr", { role: "row" }, this.columns.map(cellOf));
    keyed(this.body, items, this.keyOf, create, (row, item) => {
      this.columns.forEach((column, index) => {
        const cell = row.cells[index];
        column.cell(cell.lastChild, item);
        // Where there is no room for columns, what says nothing is left out.
        cell.classList.toggle("nothing", ["", "–"].includes(cell.lastChild.textContent));
      });
    });
    show(this.table, items.length > 0);
  }
}

function cellOf(column) {
  // The title beside the value is for narrow screens, and hidden from those who hear the table's own.
  const title = make("span", { class: "cell-title", "aria-hidden": "true" }, column.title);
  return make("td", { role: "cell", class: column.name }, title, make("div"));
}

/** A badge that says an outcome or a state, by word and by colour. */
export function badge(element, word, kind) {
  put(element, word);
  element.className = `badge ${kind}`;
}

/** Put a badge into a cell. */
export function badgeIn(cell, word, kind) {
  if (!cell.firstElementChild) cell.append(make("span"));
  badge(cell.firstElementChild, word, kind);
}

/** A table of plain values, folded away, under a plot. */
export function folded(summary, titles, rows) {
  const head = make("tr", {}, titles.map((title) => make("th", { scope: "col" }, title)));
  const lines = rows.map((row) => make("tr", {}, row.map((value) => make("td", {}, String(value)))));
  const table = make("table", { class: "data" }, make("thead", {}, head), make("tbody", {}, lines));
  return make("details", {}, make("summary", {}, summary), make("div", { class: "scrolls", tabindex: "0" }, table));
}
