// The last hour: outcomes, the time to the first content, failures by class.

import { LostError, get } from "./asking.js";
import { by, folded, make, put } from "./dom.js";
import { figure, legend, lines, lying, stacked } from "./plots.js";
import { OUTCOMES, clock, count, many, plain, share, span } from "./words.js";

export class Hour {
  constructor() {
    this.shown = "";
  }

  async look() {
    const hour = await get("hour").catch((error) => {
      if (!(error instanceof LostError)) put(by("hour-facts"), error.message);
    });
    if (hour) this.show(hour);
  }

  show(hour) {
    put(by("hour-facts"), facts(hour));
    // Drawn anew only when something is different; a table that a person has unfolded stays unfolded.
    const wanted = JSON.stringify([hour.buckets.map((each) => [each.outcomes, each.first_content_s]), hour.failures]);
    const minute = Math.floor(hour.buckets[0].at / 60);
    if (this.shown === `${minute} ${wanted}`) return;
    this.shown = `${minute} ${wanted}`;
    const open = [...by("plots").querySelectorAll("details")].map((each) => each.open);
    const focused = [...by("plots").querySelectorAll("summary")].indexOf(document.activeElement);
    by("plots").replaceChildren(outcomes(hour), firstContent(hour), failures(hour));
    by("plots").querySelectorAll("details").forEach((each, index) => (each.open = open[index] ?? false));
    if (focused >= 0) by("plots").querySelectorAll("summary")[focused]?.focus();
  }
}

function facts({ total, usage, off }) {
  const all = Object.values(total.outcomes).reduce((sum, number) => sum + number, 0);
  const parts = OUTCOMES.filter((name) => total.outcomes[name]).map((name) => `${total.outcomes[name]} ${plain(name)}`);
  const told = [
    all ? `${many(all, "exchange")}: ${parts.join(", ")}` : "No exchange in the last hour",
    total.first_content_s ? `first content after ${span(total.first_content_s[0])}, 95 % within ${span(total.first_content_s[1])}` : "",
    usage.output || usage.input ? `${count(usage.input)} tokens in (${share(usage.input ? usage.cache_read / usage.input : null)} from cache), ${count(usage.output)} out` : "",
    off ? `nothing new is written down: ${off}` : "",
  ];
  return `${told.filter(Boolean).join("; ")}.`;
}

const ends = ({ buckets }) => [clock(buckets[0].at), "now"];

function outcomes(hour) {
  const names = OUTCOMES.filter((name) => hour.total.outcomes[name]);
  const busy = hour.buckets.filter((each) => Object.keys(each.outcomes).length);
  const rows = busy.map((each) => [clock(each.at), ...names.map((name) => each.outcomes[name] ?? 0)]);
  const bars = hour.buckets.map((each) => each.outcomes);
  const label = `Outcomes by minute. In all: ${names.map((name) => `${hour.total.outcomes[name]} ${plain(name)}`).join(", ") || "none"}.`;
  return figure("Outcomes, a minute each", label, stacked(bars, names, ...ends(hour)), [
    legend(names.map((name) => [name, plain(name)])),
    folded("Outcomes as a table", ["Minute", ...names.map(plain)], rows),
  ]);
}

function firstContent(hour) {
  const [median, most] = [0, 1].map((index) => hour.buckets.map((each) => each.first_content_s?.[index] ?? null));
  const rows = hour.buckets.filter((each) => each.first_content_s).map((each) => [clock(each.at), ...each.first_content_s.map(span)]);
  const total = hour.total.first_content_s;
  const label = `Time to the first content by minute. ${total ? `In all: median ${span(total[0])}, 95 % within ${span(total[1])}.` : "None."}`;
  const paint = lines([{ name: "most", values: most }, { name: "median", values: median }], ...ends(hour));
  return figure("First content at the client", label, paint, [
    legend([["median", "median"], ["most", "95 % within"]]),
    folded("First content as a table", ["Minute", "Median", "95 % within"], rows),
  ]);
}

function failures({ failures }) {
  const bars = Object.entries(failures).map(([name, number]) => [plain(name), number]);
  const label = `Failed attempts by class: ${bars.map(([name, number]) => `${number} ${name}`).join(", ") || "none"}.`;
  const body = bars.length ? lying(bars, label) : make("p", { class: "quiet" }, "No attempt failed.");
  const table = folded("Failures as a table", ["Class", "Attempts"], bars);
  return make("figure", {}, make("figcaption", {}, "Failed attempts by class"), body, table);
}
