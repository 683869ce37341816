// What was captured, with replay.

import { LostError, get } from "./asking.js";
import { replayButton } from "./detail.js";
import { Table, by, make, put } from "./dom.js";
import { exchangeLink } from "./now.js";
import { clock, many } from "./words.js";

const COLUMNS = [
  { name: "brief", title: "Time", cell: (cell, each) => put(cell, clock(each.at, { seconds: true })) },
  { name: "brief", title: "Exchange", cell: (cell, each) => (each.exchange ? exchangeLink(cell, each) : put(cell, "–")) },
  { name: "model", title: "Model", cell: (cell, each) => put(cell, each.model) },
  { name: "wide", title: "What happened", cell: what },
  { name: "number", title: "Times", cell: (cell, each) => put(cell, each.times) },
  { name: "brief", title: "File", cell: (cell, each) => put(cell, each.file) },
  { name: "brief", title: "Action", cell: replay },
];

export class Captures {
  constructor() {
    this.table = new Table(by("captures"), "Captured exchanges", COLUMNS, (each) => `${each.file} ${each.exchange} ${each.at}`);
  }

  async look() {
    const told = await get("captures").catch((error) => {
      if (!(error instanceof LostError)) put(by("captures-told"), error.message);
    });
    if (!told) return;
    this.table.show(told.captures);
    const kept = told.enabled ? `Failures are kept for ${many(told.days, "day")}.` : "Nothing is captured: [capture] enabled is false.";
    put(by("captures-told"), told.captures.length ? kept : `Nothing has been captured. ${kept}`);
  }
}

function what(cell, each) {
  if (!cell.firstChild) cell.append(make("div"), make("div", { class: "do" }));
  put(cell.firstChild, each.finding?.what || each.came);
  put(cell.lastChild, each.finding?.do ? `To do: ${each.finding.do}` : "");
}

function replay(cell, each) {
  if (!cell.firstChild && each.exchange) cell.append(replayButton(each.exchange));
}
