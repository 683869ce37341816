// The exchanges that are over or running, by filters.

import { LostError, get } from "./asking.js";
import { Table, badgeIn, by, make, put, show } from "./dom.js";
import { exchangeLink } from "./now.js";
import { OUTCOMES, clock, count, model, plain, span } from "./words.js";

const FAILURES = [
  "empty", "stalled", "cut", "malformed", "transport", "local", "transient", "overloaded", "rate_limited", "quota",
  "billing", "auth", "forbidden", "not_theirs", "no_model", "signature", "caller",
];
const SINCE = [["", "whenever"], ["15m", "15 minutes"], ["1h", "an hour"], ["1d", "a day"], ["1w", "a week"]];

const COLUMNS = [
  { name: "brief", title: "Time", cell: (cell, each) => put(cell, clock(each.at, { seconds: true })) },
  { name: "brief", title: "Outcome", cell: (cell, each) => badgeIn(cell, plain(each.outcome), each.outcome) },
  { name: "brief", title: "Exchange", cell: exchangeLink },
  { name: "model", title: "Model", cell: (cell, each) => put(cell, model(each.model, each.mapped_model)) },
  { name: "", title: "Accounts", cell: (cell, each) => put(cell, accountsOf(each)) },
  { name: "number", title: "Attempts", cell: (cell, each) => put(cell, each.attempts.length || "–") },
  { name: "number", title: "First content", cell: (cell, each) => put(cell, span(each.first_content_s)) },
  { name: "number", title: "Took", cell: (cell, each) => put(cell, span(each.duration_s)) },
  { name: "number", title: "Tokens in / out", cell: (cell, each) => put(cell, each.output_tokens === null ? "–" : `${count(each.input_tokens)} / ${count(each.output_tokens)}`) },
  { name: "wide", title: "What happened", cell: finding },
];

export class Exchanges {
  constructor() {
    this.table = new Table(by("exchanges-table"), "Exchanges", COLUMNS, (each) => each.number);
    this.rows = [];
    this.after = null;
    this.searchedTo = null;
    // Whether a person has asked for older ones.
    this.wentOn = false;
    this.older = [];
    this.asked = 0;
    this.form = filters(by("filters"));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => this.changed());
    this.form.addEventListener("reset", () => setTimeout(() => this.changed()));
    by("more").addEventListener("click", () => this.more());
  }

  /** Whether a row is shown that will change, so that it is worth to look again. */
  get unsettled() {
    return this.rows.some((each) => each.outcome === "running");
  }

  query() {
    return Object.fromEntries([...new FormData(this.form)].map(([name, value]) => [name, value.trim()]));
  }

  changed() {
    clearTimeout(this.typing);
    this.older = [];
    this.wentOn = false;
    this.typing = setTimeout(() => this.look(true).catch((error) => this.fail(error)), 200);
  }

  /** Look at the newest. anew: what is shown is of other filters. */
  async look(anew = false) {
    const asked = ++this.asked;
    const page = await get("exchanges", this.query()).catch((error) => this.fail(error));
    if (!page || asked !== this.asked) return;
    this.keepOlder(page);
    this.rows = page.exchanges;
    if (anew || !this.wentOn) this.begin(page);
    this.show(page.off);
  }

  /** The older ones that a person has asked for stay below, with those that new ones have pushed off the first page. */
  keepOlder({ exchanges, after, searched_to }) {
    if (!this.wentOn) return;
    const last = exchanges.at(-1);
    const full = after !== null && searched_to === null;
    const until = full ? last.at : searched_to ?? -Infinity;
    this.wentOn = !full || this.rows.some((each) => each.number === last.number);
    this.older = this.wentOn ? [...this.rows.filter((each) => each.at < until), ...this.older] : [];
  }

  /** What is older than this page is to be asked for next. */
  begin({ after, searched_to }) {
    this.after = after;
    this.searchedTo = searched_to;
  }

  async more() {
    const asked = this.asked;
    const page = await get("exchanges", { ...this.query(), after: this.after }).catch((error) => this.fail(error));
    if (!page || asked > this.asked) return;
    this.wentOn = true;
    this.older.push(...page.exchanges);
    this.begin(page);
    this.show(page.off);
  }

  show(off) {
    const newest = new Set(this.rows.map((each) => each.number));
    const all = [...this.rows, ...this.older.filter((each) => !newest.has(each.number))];
    this.table.show(all);
    const filtered = Object.values(this.query()).some(Boolean);
    const back = this.searchedTo === null ? "" : ` Searched back until ${clock(this.searchedTo, { seconds: true })}.`;
    const none = filtered ? "No exchange is like that." : "There has been no exchange yet.";
    const told = [(all.length ? (filtered ? `${all.length}${this.after ? " or more" : ""} are like that.` : "") : none) + back];
    put(by("exchanges-told"), [...told, off ? `New ones are not written down: ${off}.` : ""].filter(Boolean).join(" "));
    show(by("more"), this.after !== null);
  }

  fail(error) {
    // What is known stays; that the connection is lost is told on top.
    if (error instanceof LostError) return;
    put(by("exchanges-told"), error.message);
    this.table.show([]);
    show(by("more"), false);
  }
}

function accountsOf(each) {
  return [...new Set(each.attempts.map((attempt) => attempt.account))].join(", ") || "–";
}

function finding(cell, each) {
  if (!cell.firstChild) cell.append(make("div"), make("div", { class: "do" }));
  const told = each.outcome === "unfinished" ? "the proxy ended before it did" : each.what;
  put(cell.firstChild, [told, each.outcome === "clean" ? "" : each.done, each.times > 1 ? `${each.times} times` : ""].filter(Boolean).join("; "));
  const todo = each.do && !each.do.startsWith("nothing") ? `To do: ${each.do}` : "";
  put(cell.lastChild, todo);
}

function filters(form) {
  const options = (pairs) => pairs.map(([value, word]) => make("option", { value }, word));
  const select = (name, pairs) => make("select", { name }, options(pairs));
  const text = (name, more = {}) => make("input", { name, autocomplete: "off", spellcheck: "false", ...more });
  const any = (names) => [["", "any"], ...names.map((name) => [name, plain(name)])];
  const fields = [
    ["Outcome", select("outcome", any(OUTCOMES))],
    ["Failure", select("failure", any(FAILURES))],
    ["Account", text("account")],
    ["Model", text("model", { placeholder: "claude-*" })],
    ["Conversation", text("conversation")],
    ["Attempts at least", text("attempts", { type: "number", min: "1", max: "1000" })],
    ["Since", select("since", SINCE)],
    ["Text", text("text", { type: "search" })],
  ];
  for (const [title, field] of fields) {
    field.id = `filter-${field.name}`;
    form.append(make("div", {}, make("label", { for: field.id }, title), field));
  }
  form.append(make("button", { type: "reset" }, "Clear"));
  return form;
}
