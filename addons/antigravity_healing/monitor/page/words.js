// Times, sizes and counts as people read them. Times are seconds since 1970, durations seconds.

const DAY_S = 20 * 3600;

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${String(minutes % 60).padStart(2, "0")}` : `${Math.floor(hours / 24)} d`;
}

const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });

export function clock(at, { seconds = false } = {}) {
  const moment = new Date(at * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(moment.getHours())}:${two(moment.getMinutes())}${seconds ? `:${two(moment.getSeconds())}` : ""}`;
  return Math.abs(at - Date.now() / 1000) < DAY_S ? time : `${day.format(moment)} ${time}`;
}

export function count(number) {
  if (number === null || number === undefined) return "–";
  if (number < 10_000) return number.toLocaleString("en");
  return number < 1e6 ? `${Math.round(number / 1000)} k` : `${(number / 1e6).toFixed(1)} M`;
}

export function bytes(number) {
  if (number < 1000) return `${number} B`;
  return number < 1e6 ? `${(number / 1000).toFixed(1)} kB` : `${(number / 1e6).toFixed(1)} MB`;
}

export const share = (part) => (part === null || part === undefined ? "–" : `${Math.round(part * 100)} %`);

export const many = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

export const plain = (word) => String(word ?? "").replaceAll("_", " ");

export const model = (asked, mapped) => (mapped && mapped !== asked ? `${asked} → ${mapped}` : asked || "–");

export const OUTCOMES = ["clean", "healed", "failed", "client_left", "refused", "running", "unfinished"];
