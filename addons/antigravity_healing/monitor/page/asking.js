// Asking the proxy, again and again, and telling it what to do.

const TIMEOUT_MS = 10_000;
const LONGEST_WAIT_MS = 30_000;

/** An answer that says no; its message is the proxy's own. */
export class RefusedError extends Error {}

/** No answer. */
export class LostError extends Error {}

// What was told last of each resource, and as which version.
const known = new Map();

async function ask(path, options = {}) {
  const [resource] = path.split("?");
  const before = known.get(resource)?.path === path ? known.get(resource) : undefined;
  const headers = { ...(before ? { "if-none-match": before.version } : {}), ...options.headers };
  const sent = { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...options, headers };
  const response = await fetch(path, sent).catch(() => {
    throw new LostError("the proxy does not answer");
  });
  if (response.status === 304 && before) return before.told;
  const told = await response.json().catch(() => null);
  const version = response.headers.get("etag");
  if (response.ok && told !== null) {
    if (version) known.set(resource, { path, version, told });
    return told;
  }
  const why = typeof told?.error === "string" ? told.error : told?.error?.message;
  throw new RefusedError(why ?? `the proxy answered ${response.status}`);
}

export function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return ask(given.length ? `${path}?${new URLSearchParams(given)}` : path);
}

/** Have something done; gives what came of it, in words. The token is asked for each time: a restart makes a new one. */
export async function act(path, body = {}) {
  const { token } = await get("token");
  const headers = { "content-type": "application/json", "x-antigravity-token": token };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).done;
}

/**
 * Asks each so many milliseconds while the page can be seen; after errors ever more seldom.
 * `lost(since, wait)` is told of those: since when (Date), and in how many milliseconds it is tried again.
 */
export class Poll {
  constructor(everyMs, look, lost = () => {}) {
    Object.assign(this, { everyMs, look, lost, since: null, failures: 0, timer: null, asking: false, again: false });
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(this.timer) : this.now()));
  }

  /** Ask at once. */
  async now() {
    clearTimeout(this.timer);
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    let wait = this.everyMs;
    try {
      await this.look();
      this.failures = 0;
      this.since = null;
      this.lost(null, 0);
    } catch (error) {
      if (!(error instanceof RefusedError) && !(error instanceof LostError)) throw error;
      this.since ??= new Date();
      this.failures += 1;
      wait = Math.min(this.everyMs * 2 ** this.failures, LONGEST_WAIT_MS);
      this.lost(this.since, wait, error);
    } finally {
      this.asking = false;
      if (this.again) wait = 0;
      this.again = false;
      if (!document.hidden) this.timer = setTimeout(() => this.now(), wait);
    }
  }
}
