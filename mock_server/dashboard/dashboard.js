"use strict";
/* The page of the mock. Everything it shows comes from the control API of the server that served it. What clients sent
   is put into the page as text, never as markup. */

const API = "/__admin";
const KEPT = 500; // rows
const WAIT = new URLSearchParams(location.search).get("wait") ?? 20; // seconds of a long poll
const AT = decodeURIComponent(location.hash.slice(1)); // what to show first: a request, #17, or an account, #shop
const $ = (id) => document.getElementById(id);

const entries = new Map(); // number -> entry
let account = AT && Number.isNaN(Number(AT)) ? AT : null; // the account whose requests are shown, null for all
let selected = Number(AT) || null; // number of the request in the detail pane
let paused = false;
let last = 0; // number of the newest request that was fetched

// Asking

async function ask(method, path, body) {
  const headers = {};
  const token = sessionStorage.getItem("qfkit-token");
  if (token) headers["X-Qfkit-Token"] = token;
  const init = { method, headers, cache: "no-store" };
  if (body !== undefined) init.body = JSON.stringify(body);
  const answer = await fetch(API + path, init);
  if (answer.status === 401) {
    await askForToken(token ? "That was not it." : "");
    return ask(method, path, body);
  }
  if (answer.status === 204) return null;
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error.message);
  return data;
}

let asking = null; // the dialog that is open, one for all who wait
function askForToken(why) {
  asking ??= new Promise((done) => {
    const dialog = $("ask");
    $("ask-why").textContent = why;
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("qfkit-token", $("token").value);
      $("token").value = "";
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const at = (name) => `/accounts/${encodeURIComponent(name)}`;

// Building

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((each) => each !== null && each !== undefined));
  return element;
}

function fill(parent, children, none) {
  parent.replaceChildren(...(children.length ? children : [make("p", "none", none)]));
}

const clockTime = (seconds) => {
  const date = new Date(seconds * 1000);
  return date.toLocaleTimeString([], { hour12: false }) + "." + String(date.getMilliseconds()).padStart(3, "0");
};
const millis = (seconds) => (seconds < 1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`);
const written = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// Journal

async function follow() {
  for (;;) {
    if (paused) { await pause(0.5); continue; }
    const begun = performance.now();
    const open = [...entries.values()].filter((each) => each.outcome === "pending").map((each) => each.number);
    const after = open.length ? Math.min(...open) - 1 : last;
    try {
      const page = await ask("GET", `/journal?after=${after}&limit=${KEPT}&wait=${open.length ? 0 : WAIT}`);
      if (page.count < last) { entries.clear(); last = 0; } // another server is here now
      for (const entry of page.entries) {
        entries.set(entry.number, entry);
        last = Math.max(last, entry.number);
      }
      for (const number of [...entries.keys()].sort((a, b) => a - b).slice(0, -KEPT)) entries.delete(number);
      if (page.entries.length) { showRows(); showDetail(); await showAccounts(); }
      live("", `${page.count} requests`);
      if (open.length || performance.now() - begun < 200) await pause(0.5);
    } catch (error) {
      live("off", `no answer: ${error.message}`);
      await pause(2);
    }
  }
}

function live(state, words) {
  $("live").className = paused ? "paused" : state;
  $("live").textContent = paused ? "paused" : words;
}

const failed = (entry) => entry.status >= 400 || entry.error_code !== null;

function fits(entry) {
  if (account !== null && entry.account !== account) return false;
  if ($("errors").checked && !failed(entry)) return false;
  const words = $("find").value.trim().toLowerCase();
  return !words || JSON.stringify(entry).toLowerCase().includes(words);
}

function showRows() {
  const shown = [...entries.values()].filter(fits).sort((a, b) => b.number - a.number);
  $("rows").replaceChildren(...shown.map(rowOf));
  $("empty").hidden = shown.length > 0;
  $("empty").textContent = entries.size ? "No request fits." : "No requests yet.";
}

function rowOf(entry) {
  const code = entry.error_code === null ? "" : ` · ${entry.error_code}`;
  const tone = failed(entry) ? "bad" : "good";
  const row = make("tr", "",
    make("td", "", entry.number),
    make("td", "", clockTime(entry.time)),
    make("td", tone, `${entry.status || "…"}${code}`),
    make("td", entry.account ? "" : "warn", entry.account ?? "nobody"),
    make("td", "", entry.dialect === "unknown" ? `${entry.method} ${entry.target}` : `${entry.dialect} ${entry.operation}`,
      entry.stream ? make("span", "faint", " stream") : null),
    make("td", "", entry.model ?? ""),
    make("td", "", entry.answered_by ?? ""),
    make("td", entry.outcome === "complete" ? "faint" : "warn", entry.ending ?? entry.outcome));
  row.tabIndex = 0;
  row.setAttribute("aria-selected", entry.number === selected);
  row.title = entry.diagnosis ?? "";
  row.addEventListener("click", () => select(entry.number));
  row.addEventListener("keydown", (event) => { if (event.key === "Enter") select(entry.number); });
  return row;
}

function select(number) {
  selected = number;
  showRows();
  showDetail();
}

// One request

function showDetail() {
  const entry = entries.get(selected);
  $("detail").hidden = !entry;
  if (!entry) return;
  const close = make("button", "", "Close");
  close.addEventListener("click", () => select(null));
  const facts = [
    ["Account", entry.account ?? "nobody"],
    ["Answer", `${entry.status}${entry.error_code === null ? "" : ` · code ${entry.error_code}: ${entry.error_message}`}`],
    ["Answered by", entry.answered_by],
    ["Signature", entry.signature ? `${entry.signature.scheme}: ${entry.signature.reason}` : entry.scheme],
    ["Refused for", entry.auth_error === entry.diagnosis ? null : entry.auth_error],
    ["Findings", entry.findings.join("\n")],
    ["Delivery", entry.ending ?? entry.outcome],
    ["Chunks", entry.chunks ? `${entry.chunks_sent} of ${entry.chunks}` : null],
    ["Bytes", entry.sent_bytes],
    ["Duration", entry.duration === null || entry.duration === undefined ? null : millis(entry.duration)],
    ["Request id", entry.request_id],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  const list = make("dl", "");
  for (const [name, value] of facts) list.append(make("dt", "", name), make("dd", "", value));
  const parts = [
    make("header", "", make("h2", "", `#${entry.number} ${entry.method} ${entry.target}`), close),
    entry.diagnosis ? make("p", "diagnosis", entry.diagnosis) : null,
    list,
    ...(entry.near_misses?.length
      ? [make("h3", "", "Nearest rules"), make("pre", "", entry.near_misses.join("\n"))] : []),
    ...explained(entry.signature),
    ...timingOf(entry),
    make("h3", "", "Request"), make("pre", "", written(entry.body)),
    make("h3", "", "Request headers"), make("pre", "", headersOf(entry.headers)),
  ];
  if (entry.response) {
    parts.push(make("h3", "", `Answer${entry.response.truncated ? ", its beginning" : ""}`),
      make("pre", "", written(entry.response.body)),
      make("h3", "", "Answer headers"), make("pre", "", headersOf(entry.response.headers)));
  }
  $("detail").replaceChildren(...parts.filter((each) => each !== null));
}

const headersOf = (pairs) => pairs.map(([name, value]) => `${name}: ${value}`).join("\n");

function explained(signature) {
  if (!signature || signature.ok || !signature.expected) return [];
  const parts = [make("h3", "", "What the server signs"), make("pre", "", signature.expected)];
  if (signature.received) parts.push(make("h3", "", "What the client signed"), make("pre", "", signature.received));
  return parts;
}

function timingOf(entry) {
  if (!entry.scheduled.length) return [];
  const space = "http://www.w3.org/2000/svg";
  const end = Math.max(...entry.scheduled, ...entry.written, 1e-6);
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("class", "timing");
  drawing.setAttribute("viewBox", "0 0 1000 50");
  drawing.setAttribute("preserveAspectRatio", "none");
  const line = (time, top, bottom, kind) => {
    const stroke = document.createElementNS(space, "line");
    const x = 8 + (984 * time) / end;
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: top, y2: bottom, class: kind })) {
      stroke.setAttribute(name, value);
    }
    stroke.setAttribute("vector-effect", "non-scaling-stroke");
    drawing.append(stroke);
  };
  let late = 0;
  entry.scheduled.forEach((time) => line(time, 6, 22, "planned"));
  entry.written.forEach((time, index) => {
    late = Math.max(late, time - entry.scheduled[index]);
    line(time, 28, 44, time - entry.scheduled[index] > 0.02 ? "late" : "real");
  });
  const words = `${entry.scheduled.length} writes over ${millis(end)}, planned above and real below; `
    + (entry.written.length ? `at most ${millis(late)} late` : "none has left");
  return [make("h3", "", "Timing"), drawing, make("p", "faint", words)];
}

// Accounts

async function showAccounts() {
  const { accounts } = await ask("GET", "/accounts");
  if (account !== null && !accounts.some((each) => each.name === account)) account = null;
  const button = (name, label, count) => {
    const made = make("button", "", make("span", "", label), make("span", "count", count));
    made.setAttribute("aria-pressed", name === account);
    made.addEventListener("click", () => { account = name; showRows(); refresh(); });
    return make("li", "", made);
  };
  $("accounts").replaceChildren(button(null, "All", ""),
    ...accounts.map((each) => button(each.name, each.name,
      each.waiting.length ? `${each.requests} · ${each.waiting.length} waiting` : each.requests)));
  $("account").hidden = account === null;
  if (account !== null) await showAccount();
}

async function showAccount() {
  const [scenario, quota] = await Promise.all([
    ask("GET", `${at(account)}/scenario`), ask("GET", `${at(account)}/quota`)]);
  const marks = (scenario.strict ? " · strict" : "") + (scenario.state === "start" ? "" : ` · state ${scenario.state}`);
  $("account-name").textContent = account + marks;
  fill($("waiting"), scenario.waiting.map((step) => make("li", "", step)), "No step: answers are made up.");
  fill($("rules"), scenario.rules.map((rule) => make("li", "",
    Object.entries(rule.on).map(([name, value]) => `${name}: ${written(value)}`).join(", ") || "every request",
    make("br", ""), make("small", "", `${rule.script.join(", ")} · met ${rule.met}×`))), "No rule.");
  const meters = [];
  for (const [model, { limits, used }] of Object.entries(quota.models)) {
    for (const [kind, limit] of Object.entries(limits)) {
      if (kind === "window" || limit === null) continue;
      const meter = make("meter", "");
      Object.assign(meter, { min: 0, max: Math.max(limit, 1), high: limit * 0.8, optimum: 0, value: used[kind] ?? 0 });
      meters.push(make("div", "quota",
        make("div", "", make("span", "", `${model} ${kind}`), make("span", "count", `${used[kind] ?? 0} of ${limit}`)),
        meter));
    }
  }
  const standing = Object.entries(quota.default ?? {}).filter(([kind, limit]) => kind !== "window" && limit !== null);
  fill($("quota"), meters, standing.length
    ? `${standing.map(([kind, limit]) => `${limit} ${kind}`).join(", ")} a model; nothing used.` : "No limit.");
}

const refresh = () => showAccounts().catch((error) => live("off", `no answer: ${error.message}`));

// Controls

$("filters").addEventListener("submit", (event) => event.preventDefault());
$("find").addEventListener("input", showRows);
$("errors").addEventListener("change", showRows);
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  $("pause").textContent = paused ? "Go on" : "Pause";
  live("", "");
});
$("clear").addEventListener("click", async () => {
  await ask("DELETE", "/journal");
  entries.clear();
  select(null);
  refresh();
});
$("reset").addEventListener("click", async () => {
  await ask("POST", `${at(account)}/reset`);
  for (const entry of [...entries.values()]) if (entry.account === account) entries.delete(entry.number);
  select(null);
  refresh();
});

showRows();
refresh();
setInterval(() => { if (!paused && !document.hidden) refresh(); }, 5000);
follow();
