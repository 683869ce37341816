// The page: asks what goes on each second, and the rest when that says that something is over.

import { Poll, get } from "./asking.js";
import { Captures } from "./captures.js";
import { Detail } from "./detail.js";
import { by, put } from "./dom.js";
import { Exchanges } from "./exchanges.js";
import { Hour } from "./hour.js";
import { NowSections } from "./now.js";
import { clock, span } from "./words.js";

const EACH_MS = 1000;
const UNSETTLED_MS = 2000;
const SELDOM_MS = 10_000;

const sections = new NowSections(() => now.now());
const [exchanges, hour, captures] = [new Exchanges(), new Hour(), new Captures()];

// How many are over is the cursor: what the log says of them is asked for only when there are more.
let over = null;
let startedAt = null;

const now = new Poll(EACH_MS, async () => {
  const told = await get("now");
  sections.show(told);
  const count = told.begun - told.running;
  if (over !== count || startedAt !== told.started_at) {
    [over, startedAt] = [count, told.started_at];
    logged.now();
  }
}, lost);

const logged = new Poll(SELDOM_MS, async () => {
  await Promise.all([exchanges.look(), hour.look(), captures.look()]);
  // A row is written a moment after its exchange is over.
  logged.everyMs = exchanges.unsettled ? UNSETTLED_MS : SELDOM_MS;
});

function lost(since, wait, error) {
  document.body.classList.toggle("lost", since !== null);
  const why = error ? `: ${error.message}` : "";
  put(by("connection"), since === null ? "" : `Connection lost since ${clock(since / 1000, { seconds: true })}${why}. What is shown is of then; it is tried again every ${span(wait / 1000)}.`);
}

new Detail();
now.now();
