// Plots of the last hour, drawn as SVG; the page's style sheet gives them their colours.

import { draw, make } from "./dom.js";
import { span } from "./words.js";

const HEIGHT = 130;
const LEFT = 44;
const BOTTOM = 18;
const TOP = 8;

/** A figure that is drawn anew when its width changes. paint(svg, width): draws into it. */
export function figure(title, label, paint, ...below) {
  const picture = draw("svg", { role: "img", "aria-label": label, height: HEIGHT });
  const box = make("figure", {}, make("figcaption", {}, title), picture, ...below);
  new ResizeObserver(([{ contentRect }]) => {
    const width = Math.floor(contentRect.width);
    if (width < 50 || picture.getAttribute("width") === String(width)) return;
    picture.setAttribute("width", width);
    picture.replaceChildren();
    paint(picture, width);
  }).observe(box);
  return box;
}

/** A number that reads well and is not less: 1, 2 or 4 times a power of ten, so that its half does, too. */
export function niceAbove(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 10].map((step) => step * power).find((step) => step >= value * 0.999999);
}

function axes(picture, width, most, say, first, last) {
  for (const part of [0, 0.5, 1]) {
    const y = yOf(part);
    picture.append(draw("line", { x1: LEFT, x2: width, y1: y, y2: y, class: "grid" }));
    picture.append(draw("text", { x: LEFT - 5, y: y + 4, "text-anchor": "end" }, say(most * part)));
  }
  picture.append(draw("text", { x: LEFT, y: HEIGHT - 3 }, first));
  picture.append(draw("text", { x: width - 1, y: HEIGHT - 3, "text-anchor": "end" }, last));
}

const yOf = (part) => HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP);

/** Stacked bars. bars: `{name: number}` each; names: from the bottom up, which are classes of the style sheet, too. */
export function stacked(bars, names, first, last) {
  const most = Math.max(2, niceAbove(Math.max(...bars.map((bar) => names.reduce((sum, name) => sum + (bar[name] ?? 0), 0)))));
  return (picture, width) => {
    axes(picture, width, most, (value) => value.toLocaleString("en"), first, last);
    const step = (width - LEFT) / bars.length;
    bars.forEach((bar, index) => {
      let below = 0;
      for (const name of names.filter((each) => bar[each])) {
        const [low, high] = [yOf(below / most), yOf((below += bar[name]) / most)];
        const place = { x: LEFT + index * step + step * 0.1, y: high, width: step * 0.8, height: low - high };
        picture.append(draw("rect", { ...place, class: name }));
      }
    });
  };
}

/** Lines. lines: `{name, values}`, null where there is nothing; a value between two of those is a dot. */
export function lines(all, first, last) {
  const most = niceAbove(Math.max(0, ...all.flatMap(({ values }) => values.map((value) => value ?? 0))));
  return (picture, width) => {
    axes(picture, width, most, span, first, last);
    for (const { name, values } of all) {
      const at = (index) => [LEFT + ((index + 0.5) * (width - LEFT)) / values.length, yOf(values[index] / most)];
      const there = [...values.keys()].filter((index) => values[index] !== null);
      const path = there.map((index, place) => `${there[place - 1] === index - 1 ? "L" : "M"}${at(index)}`).join("");
      if (path) picture.append(draw("path", { d: path, class: `line ${name}` }));
      const alone = there.filter((index) => values[index - 1] == null && values[index + 1] == null);
      for (const [cx, cy] of alone.map(at)) picture.append(draw("circle", { cx, cy, r: 2.5, class: name }));
    }
  };
}

/** Bars that lie, one below the other, each with its name. bars: `[name, number]`. Gives an element. */
export function lying(bars, label) {
  const most = Math.max(1, ...bars.map(([, number]) => number));
  const rows = bars.map(([name, number]) =>
    make("div", { class: "lying" }, [
      make("span", {}, name),
      draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, [
        draw("rect", { width: (number / most) * 100, height: 10, class: "failed" }),
      ]),
      make("span", { class: "number" }, String(number)),
    ]),
  );
  return make("div", { role: "img", "aria-label": label }, rows);
}

export function legend(entries) {
  const swatch = (name) => draw("svg", { width: 12, height: 12, "aria-hidden": "true" }, draw("rect", { width: 12, height: 12, rx: 2, class: name }));
  return make("p", { class: "legend" }, entries.map(([name, word]) => make("span", {}, swatch(name), ` ${word}`)));
}
