// What goes on now: what needs a hand, the running exchanges, the accounts.

import { actionButton } from "./actions.js";
import { Table, badge, by, draw, keyed, make, put, show } from "./dom.js";
import { bytes, clock, count, many, model, plain, share, span } from "./words.js";

const STATUS = { ok: "clean", degraded: "healed", down: "failed" };

export class NowSections {
  /** changed: called when something has been done by hand. */
  constructor(changed) {
    this.changed = changed;
    this.running = new Table(by("now"), "Running exchanges", RUNNING, (each) => each.id);
    this.accounts = new Table(by("accounts"), "Accounts", this.accountColumns(), (each) => each.name);
  }

  show(now) {
    this.showStatus(now);
    this.showConditions(now.conditions);
    this.running.show(now.exchanges);
    show(by("now-none"), now.running !== now.exchanges.length || now.running === 0);
    put(by("now-none"), now.running ? `${now.running - now.exchanges.length} more are running.` : "Nothing is running.");
    this.accounts.show(now.accounts);
    show(by("accounts-none"), now.accounts.length === 0);
    put(by("accounts-none"), "No account is configured: clients are served by their own credentials.");
  }

  showStatus(now) {
    badge(by("status-word"), now.status, STATUS[now.status] ?? "running");
    const hands = now.conditions.filter((each) => each.needs_a_hand).length;
    const facts = [
      `${now.running} running`,
      `${many(now.begun, "exchange")} since ${clock(now.started_at)}`,
      now.retries_left === null || now.retries_left === undefined ? "" : `retries left: ${Math.floor(now.retries_left)}`,
    ];
    put(by("status-facts"), facts.filter(Boolean).join(" · "));
    document.title = hands ? `(${hands}) Proxy Monitor` : "Proxy Monitor";
  }

  showConditions(conditions) {
    const hands = conditions.filter((each) => each.needs_a_hand);
    // What is read aloud changes only with what is wrong, not with how often it was met.
    const told = hands.map((each) => `${each.what}. To do: ${each.do}.`).join(" ");
    put(by("needs-summary"), hands.length ? `${many(hands.length, "thing")} to do. ${told}` : "Nothing needs a hand.");
    show(by("needs-none"), conditions.length === 0);
    put(by("needs-none"), "Nothing: all is well.");
    keyed(by("needs"), conditions, keyOf, (each) => this.conditionCard(each), showCondition);
  }

  conditionCard(condition) {
    const card = make("li", {}, [
      make("p", { class: "what" }),
      make("p", { class: "do" }),
      make("p", { class: "facts quiet" }),
    ]);
    if (condition.kind === "configuration") {
      const label = "Read the configuration again";
      card.append(make("p", {}, actionButton(label, label, "reload", {}, this.changed)));
    } else if (condition.account) card.append(make("p", {}, this.resetButton(condition.account)));
    return card;
  }

  resetButton(name) {
    const meaning = `Reset ${name}: forget what keeps it away, and ask it again at once`;
    return actionButton("Reset", meaning, "account/reset", { name }, this.changed);
  }

  accountColumns() {
    return [
      { name: "wide", title: "Account", cell: accountName },
      { name: "wide", title: "State", cell: (cell, each) => this.accountState(cell, each) },
      { name: "", title: "Quota", cell: quotaGauges },
      { name: "number", title: "Requests", cell: requestsOf },
      { name: "number", title: "Tokens in / out", cell: (cell, { tokens }) => put(cell, `${count(tokens.input)} / ${count(tokens.output)}`) },
      { name: "number", title: "From cache", cell: (cell, each) => put(cell, share(each.cache_read_share)) },
      { name: "brief", title: "Action", cell: (cell, each) => cell.firstChild ?? cell.append(this.resetButton(each.name)) },
    ];
  }

  accountState(cell, account) {
    if (!cell.firstChild) cell.append(make("span"), make("div", { class: "quiet" }));
    const whole = account.benches.some((bench) => bench.model === null);
    if (account.no_key !== null) badge(cell.firstChild, "no key", "failed");
    else if (whole || !account.healthy) badge(cell.firstChild, "left alone", "failed");
    else if (account.benches.length) badge(cell.firstChild, "in part", "healed");
    else badge(cell.firstChild, "free", "clean");
    const lines = account.benches.map((bench) => this.benchLine(bench));
    put(cell.lastChild, [account.no_key, ...lines].filter(Boolean).join("; "));
  }

  benchLine({ model, until, reason }) {
    return `${model ? `${model}: ` : ""}until ${clock(until)} (${reason})`;
  }
}

const keyOf = ({ kind, about }) => `${kind} ${about}`;

function showCondition(card, condition) {
  card.className = condition.needs_a_hand ? "card hand" : "card";
  const [what, todo, facts] = card.children;
  put(what, condition.what);
  put(todo, condition.needs_a_hand ? `To do: ${condition.do}` : `To do: ${condition.do} (it ends by itself)`);
  const until = condition.until === null ? "" : `until ${clock(condition.until)}`;
  const met = condition.count ? `met by ${many(condition.count, "attempt")}` : "";
  put(facts, [`since ${clock(condition.since)}`, until, met].filter(Boolean).join(" · "));
}

const PHASES = {
  preparing: "preparing",
  connecting: "connecting",
  waiting: "waiting for the first byte",
  thinking: "no content yet",
  held: "held",
  "back-off": "waiting to try again",
  streaming: "streaming",
  idle: "idle",
};
const BAD_PHASES = new Set(["back-off", "idle", "held"]);

const RUNNING = [
  { name: "brief", title: "Exchange", cell: exchangeLink },
  { name: "wide", title: "Phase", cell: phaseOf },
  { name: "wide", title: "Ends", cell: endOf },
  { name: "", title: "Account", cell: (cell, each) => put(cell, each.account || "–") },
  { name: "number", title: "Attempt", cell: attemptOf },
  { name: "model", title: "Model", cell: (cell, each) => put(cell, model(each.model, each.mapped_model)) },
  { name: "number", title: "Since", cell: (cell, each) => put(cell, span(each.seconds)) },
  { name: "number", title: "Received", cell: (cell, each) => put(cell, bytes(each.bytes)) },
];

export function exchangeLink(cell, { id, exchange }) {
  const name = id ?? exchange;
  if (!cell.firstChild) cell.append(make("a", { href: `#exchange=${encodeURIComponent(name)}`, class: "id" }));
  put(cell.firstChild, name);
}

function phaseOf(cell, each) {
  if (!cell.firstChild) cell.append(make("span"), make("span", { class: "quiet" }));
  badge(cell.firstChild, PHASES[each.phase] ?? each.phase, BAD_PHASES.has(each.phase) ? "healed" : "running");
  put(cell.lastChild, ` for ${span(each.phase_s)}`);
}

function endOf(cell, each) {
  put(cell, each.ends_s === null ? "–" : `in ${span(each.ends_s)}: ${each.why}`);
}

function attemptOf(cell, each) {
  const before = each.failures.length ? ` (before: ${each.failures.map(plain).join(", ")})` : "";
  put(cell, `${each.attempt || "–"}${before}`);
}

function accountName(cell, account) {
  if (!cell.firstChild) cell.append(make("strong"), make("div", { class: "quiet" }));
  put(cell.firstChild, account.name);
  put(cell.lastChild, [account.email, account.upstream].filter(Boolean).join(" · "));
}

function requestsOf(cell, account) {
  if (!cell.firstChild) cell.append(make("span"), make("div", { class: "quiet" }));
  put(cell.firstChild, `${count(account.delivered)} of ${count(account.over)} served`);
  const failed = Object.entries(account.failures).map(([kind, number]) => `${number} × ${plain(kind)}`);
  const active = account.active ? [`${account.active} running`] : [];
  put(cell.lastChild, [...active, ...failed].join(", "));
}

const FULL = 100;

function quotaGauges(cell, account) {
  if (!cell.firstChild) cell.append(make("div"), make("div", { class: "quiet" }));
  const [gauges, age] = cell.children;
  keyed(gauges, account.windows, (each) => each.name, quotaGauge, showQuota);
  put(age, account.windows.length ? `as told at ${clock(account.windows_at)}` : "not told");
}

const quotaGauge = () =>
  make("div", { class: "gauge" }, [
    make("span"),
    draw("svg", { viewBox: `0 0 ${FULL} 8`, preserveAspectRatio: "none", "aria-hidden": "true" }, [
      draw("rect", { width: FULL, height: 8, class: "track" }),
      draw("rect", { height: 8 }),
    ]),
  ]);

function showQuota(gauge, { name, used, resets_at }) {
  const [label, picture] = gauge.children;
  const until = resets_at === null ? "" : `, new at ${clock(resets_at)}`;
  put(label, `${name}: ${share(used)} used${until}`);
  const bar = picture.lastChild;
  bar.setAttribute("width", Math.min(1, Math.max(0, used)) * FULL);
  bar.setAttribute("class", used >= 0.9 ? "failed" : used >= 0.7 ? "healed" : "clean");
}
