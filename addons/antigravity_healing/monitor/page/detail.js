// One exchange in detail, in a dialog that the address names: `#exchange=ID`.

import { actionButton, tell } from "./actions.js";
import { get } from "./asking.js";
import { badge, by, draw, make, put } from "./dom.js";
import { clock, count, model, plain, span } from "./words.js";

const ADDRESS = /^#exchange=(.+)$/;
const LOOK_MS = 1000;

export class Detail {
  constructor() {
    this.dialog = by("detail");
    this.shown = "";
    this.dialog.addEventListener("close", () => {
      clearTimeout(this.timer);
      this.id = null;
      if (ADDRESS.test(location.hash)) history.replaceState(null, "", location.pathname);
    });
    addEventListener("hashchange", () => this.open());
    this.open();
  }

  open() {
    const found = ADDRESS.exec(location.hash);
    if (!found) return this.dialog.open && this.dialog.close();
    this.id = decoded(found[1]);
    this.shown = "";
    tell("");
    put(by("detail-title"), `Exchange ${this.id}`);
    by("detail-body").replaceChildren(make("p", { class: "quiet" }, "Asking …"));
    if (!this.dialog.open) this.dialog.showModal();
    by("detail-title").focus();
    return this.look();
  }

  /** Look, and look again as long as it runs. */
  async look() {
    clearTimeout(this.timer);
    const id = this.id;
    let told = null;
    try {
      told = await get("exchange", { id });
      if (id === this.id) this.show(told);
    } catch (error) {
      if (id === this.id) by("detail-body").replaceChildren(make("p", { class: "bad" }, error.message));
    }
    if (id === this.id && told?.state === "running") this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  show(told) {
    const wanted = JSON.stringify(told);
    if (wanted === this.shown) return;
    this.shown = wanted;
    const word = make("span");
    badge(word, plain(told.state), told.state);
    by("detail-title").replaceChildren(`Exchange ${told.exchange} `, word);
    by("detail-body").replaceChildren(
      finding(told),
      this.buttons(told),
      timeline(told.story),
      facts(told),
      changes(told),
    );
  }

  buttons(told) {
    const all = [copyButton("Copy as text", told.text)];
    if (told.curl) all.push(copyButton("Copy as curl", told.curl));
    if (!told.missing) {
      const href = `flow?id=${encodeURIComponent(told.exchange)}`;
      all.push(make("a", { class: "button", href, download: `${told.exchange}.flow` }, "Download .flow"));
    }
    if (told.can_replay) all.push(replayButton(told.exchange));
    return make("p", { class: "buttons" }, all);
  }
}

/** A button that sends an exchange again, and says what came of it. */
export function replayButton(exchange) {
  const watch = async () => {
    const { replays } = await get("replays");
    const one = replays.find((each) => each.exchange === exchange);
    if (one?.running) setTimeout(() => watch().catch((error) => tell(error.message, true)), 500);
    else if (one) tell(`Replayed ${exchange}: ${one.before} → ${one.came}${one.now ? ` (now ${one.now})` : ""}`);
  };
  const begin = () => watch().catch((error) => tell(error.message, true));
  return actionButton("Replay", `Send exchange ${exchange} again, through the configuration as it is now`, "replay", { id: exchange }, begin);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function copyButton(label, text) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      tell(`Copied: ${text.length.toLocaleString("en")} characters.`);
    } catch {
      // Not allowed, or no secure context: shown, to be copied by hand.
      const area = make("textarea", { readonly: true, rows: "8", "aria-label": label });
      area.value = text;
      by("detail-told").after(area);
      area.select();
      tell("The browser does not let this page copy: the text is selected below.");
    }
  };
  return make("button", { type: "button", onclick: copy }, label);
}

function pairs(entries) {
  const given = entries.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return make("dl", {}, given.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
}

function finding({ story, why_no_retry, state }) {
  const told = story.finding ?? { what: state === "running" ? "it is still running" : "the proxy ended before it did" };
  return pairs([["What happened", told.what], ["Done", told.done], ["To do", told.do], ["Why no retry", why_no_retry]]);
}

function facts({ story, facts, times, last_at, off, missing, kept_in, bodies }) {
  const usage = story.usage;
  const tokens = usage && `${count(usage.input)} in (${count(usage.cache_read)} read from cache, ${count(usage.cache_write)} written), ${count(usage.output)} out (${count(usage.reasoning)} thinking)`;
  return make("section", {}, make("h3", {}, "Facts"), pairs([
    ["Began", story.at === undefined ? "" : clock(story.at, { seconds: true })],
    ["Took", story.duration_s === undefined ? "" : span(story.duration_s)],
    ["First content", story.time_to_first_content_s == null ? "" : span(story.time_to_first_content_s)],
    ["Waited between attempts", story.waited_s ? span(story.waited_s) : ""],
    ["Model", model(story.model, story.mapped_model)],
    ["Request", facts ? `${facts.method} ${facts.path}${facts.streams ? " (stream)" : ""}` : ""],
    ["Status", story.status],
    ["Tokens", tokens],
    ["Conversation", facts?.conversation],
    ["Client", facts?.client],
    ["Met", times > 1 ? `${times} times, until ${clock(last_at)}` : ""],
    ["Kept in", kept_in],
    ["Not kept", missing],
    ["Bodies", (bodies ?? []).join("; ")],
    ["Request log", off],
  ]));
}

function changes({ diff, missing }) {
  const heading = make("h3", {}, "What the proxy changed");
  if (missing) return make("section", {}, heading, make("p", { class: "quiet" }, `It can't be told: ${missing}.`));
  const text = diff.join("\n") || "no attempt was made: there is nothing to compare";
  return make("section", {}, heading, make("pre", { tabindex: "0", "aria-label": "What the proxy changed" }, text));
}

const WIDE = 1000;

/** A row an attempt on one line of time, the verdict between the rows. */
function timeline(story) {
  const attempts = story.attempts ?? [];
  const heading = make("h3", {}, "Attempts");
  if (!attempts.length) return make("section", {}, heading, make("p", { class: "quiet" }, "None is over yet, or none was made."));
  const began = story.at ?? attempts[0].at;
  const ends = attempts.map((each) => each.at - began + (each.duration_s ?? 0));
  const whole = Math.max(story.duration_s ?? 0, ...ends, 0.001);
  const key = make("p", { class: "legend quiet" }, `The line is ${span(whole)} long: `, [
    ...[["wait", "waiting"], ["byte", "first byte"], ["content", "content"], ["failed", "failed"]].map(([name, word]) =>
      make("span", {}, draw("svg", { width: 12, height: 12, "aria-hidden": "true" }, draw("rect", { width: 12, height: 12, class: name })), ` ${word}`)),
  ]);
  return make("section", {}, heading, key, make("ol", { class: "timeline" }, attempts.map((each) => attempt(each, began, whole))));
}

function attempt(each, began, whole) {
  const start = Math.max(0, each.at - began);
  const end = start + (each.duration_s ?? whole - start);
  const byte = each.time_to_first_byte_s == null ? end : start + each.time_to_first_byte_s;
  const content = each.time_to_first_content_s == null ? end : start + each.time_to_first_content_s;
  const part = (from, to, name) => {
    const [x, right] = [from, to].map((at) => Math.min(WIDE, (at / whole) * WIDE));
    return right > x ? draw("rect", { x, width: right - x, height: 14, class: name }) : null;
  };
  const times = [
    each.time_to_first_byte_s == null ? "no first byte" : `first byte ${span(each.time_to_first_byte_s)}`,
    each.time_to_first_content_s == null ? "no content" : `first content ${span(each.time_to_first_content_s)}`,
    each.duration_s === undefined ? "running" : `end ${span(each.duration_s)}`,
  ].join(", ");
  const name = `${each.attempt}. ${each.account}`;
  const bar = draw("svg", { viewBox: `0 0 ${WIDE} 14`, preserveAspectRatio: "none", role: "img", "aria-label": `${name}: begins ${span(start)}, ${times}` }, [
    draw("rect", { width: WIDE, height: 14, class: "track" }),
    part(start, byte, "wait"),
    part(byte, content, "byte"),
    part(content, end, "content"),
    each.failure ? draw("rect", { x: Math.min(WIDE - 4, (end / whole) * WIDE), width: 4, height: 14, class: "failed" }) : null,
  ]);
  const came = each.failure ? `${plain(each.failure)}: ${each.detail ?? ""}` : each.delivered ? "served" : "left";
  const lines = [
    make("div", {}, make("strong", {}, name), ` ${each.mapped_model ?? ""} `, make("span", { class: "quiet" }, `${each.status ?? "no status"}; ${times}`)),
    bar,
    make("div", { class: each.failure ? "bad" : "" }, came),
  ];
  if (each.repaired?.length) lines.push(make("div", {}, `repaired: ${each.repaired.join(", ")}`));
  if (each.verdict) lines.push(make("div", { class: "verdict" }, `→ ${each.verdict}`));
  return make("li", {}, lines);
}
