// The page: who looks, which view, and asking again every two seconds. It reads and never writes.

import { gateChart, weightChart } from "./chart.js";
import { age, clock, el, meter, svg } from "./draw.js";

const POLL_MS = 2000, PATIENCE_MS = 10000, KEY = "modelrollout-token";
const MOODS = {
  Stable: "good", Progressing: "busy", Starting: "busy", Promoting: "busy", Pending: "busy",
  Paused: "warn", AwaitingApproval: "warn", RollingBack: "bad", RolledBack: "bad", Stalled: "bad",
};
const HELD = new Set(["MetricsUnavailable", "CandidateNotMeasured", "GateMisconfigured", "SplitMismatch", "SharedDegradation", "Undecided", "PreflightFailed"]);
const SIGNS = { good: "✓", busy: "▸", warn: "!", bad: "✕" };
const VERDICTS = {
  Breached: ["bad", "✕", "shown to be beyond its limit"],
  Proven: ["good", "✓", "shown to be within its limit"],
  NoHarmSeen: ["good", "○", "harm as large as it can see would have been seen"],
  TooEarly: ["", "…", "not enough samples yet"],
  Blind: ["warn", "?", "there are no data"],
};
const CHECKS = { Ok: ["good", "✓"], Waiting: ["busy", "…"], Failed: ["bad", "✕"], Unknown: ["warn", "?"] };
const RUNGS = { done: ["✓", "done"], current: ["▸", "now"], ended: ["✕", "ended here"], toCome: ["○", "to come"] };

const main = document.getElementById("main");
const pulse = document.getElementById("pulse");
const where = document.getElementById("where");
const leave = document.getElementById("leave");

let turn = 0; // of the view that is shown; answers for an earlier one are dropped
let timer = 0;
let clockSkew = 0; // what the operator's clock is ahead of this one, in milliseconds
let lastLook = 0;
let refresh = () => {};

const now = () => Date.now() + clockSkew;

/* ---- Who looks ---- */

function signIn(problem) {
  show("ModelRollout", "");
  refresh = () => {};
  leave.hidden = true;
  pulse.textContent = "";
  const form = document.getElementById("sign-in").content.cloneNode(true);
  if (problem) {
    const said = form.querySelector(".problem");
    said.append(...sentence(problem));
    said.hidden = false;
  }
  form.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, new FormData(event.target).get("token").trim());
    introduce();
    route();
  });
  main.replaceChildren(form);
  main.querySelector("input").focus();
}

leave.addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  route();
});

/* ---- Asking ---- */

class Refused extends Error {
  constructor(status, said) {
    super(said.error);
    this.status = status;
    this.remedy = said.remedy;
  }
}

async function ask(path, tag) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` };
  if (tag) headers["If-None-Match"] = tag;
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PATIENCE_MS) });
  const date = Date.parse(answer.headers.get("Date"));
  if (Math.abs(date - now()) > 3000) clockSkew = date - Date.now();
  if (answer.status === 304) return { tag, data: null };
  const data = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, data);
  return { tag: answer.headers.get("ETag"), data };
}

/** Show a view and keep it fresh; `draw` gets a document whenever it is another one than before. */
function follow(path, draw) {
  const mine = ++turn;
  let tag = null;
  clearTimeout(timer);
  refresh = async () => {
    clearTimeout(timer);
    try {
      const answer = await ask(path, tag);
      if (mine !== turn) return;
      if (answer.data) {
        tag = answer.tag;
        draw(answer.data);
      }
      lastLook = Date.now();
      beat("");
    } catch (error) {
      if (mine !== turn) return;
      if (error instanceof Refused && error.status === 401) {
        sessionStorage.removeItem(KEY);
        turn += 1;
        return signIn({ error: `${error.message}:`, remedy: error.remedy });
      }
      if (error instanceof Refused && error.status !== 429 && error.status < 500) {
        tag = null;
        refuse(error);
        beat("");
      } else {
        beat(error instanceof Refused ? error.message : "the operator does not answer");
      }
    }
    if (!document.hidden) timer = setTimeout(refresh, POLL_MS);
  };
  refresh();
}

/** Instead of the view, and once for a trouble that lasts: a reader's voice must not begin again every two seconds. */
function refuse(error) {
  const said = `${error.message} ${error.remedy}`;
  if (main.firstElementChild?.dataset.refused === said) return;
  sections.clear();
  main.replaceChildren(el("section", { class: "card", "data-refused": said }, el("h1", {}, "This cannot be shown"),
    el("p", { class: "notice", role: "alert" }, sentence({ error: `${error.message}.`, remedy: error.remedy })),
    el("p", {}, el("a", { href: "#/" }, "All rollouts"))));
}

function sentence({ error, remedy }) {
  const at = remedy.indexOf("kubectl ");
  return at < 0 ? [error, " ", remedy] : [error, " ", remedy.slice(0, at), el("code", {}, remedy.slice(at))];
}

function beat(trouble) {
  pulse.className = trouble ? "pulse lost" : "pulse";
  const ago = lastLook ? Math.round((Date.now() - lastLook) / 1000) : 0;
  pulse.textContent = trouble ? `${trouble}; shown is what was ${ago} s ago` : "live";
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});

/** Whose token it is, for the button that forgets it. */
async function introduce() {
  const { data } = await ask("/api/v1/me").catch(() => ({ data: null }));
  leave.hidden = !sessionStorage.getItem(KEY);
  leave.title = data ? `you are ${data.user}` : "";
}

/* ---- Drawing only what changed, so that focus, selection and open details stay ---- */

const sections = new Map();

function section(place, name, data, build) {
  const text = JSON.stringify(data);
  if (sections.get(name) === text) return;
  sections.set(name, text);
  const built = build(data);
  place.replaceChildren(...(Array.isArray(built) ? built.flat(2).filter(Boolean) : [built]));
}

function show(title, crumb) {
  document.title = title;
  where.textContent = crumb;
  sections.clear();
}

/* ---- The list ---- */

function showList(namespace) {
  show("ModelRollouts", namespace ? `in ${namespace}` : "");
  main.replaceChildren(el("p", { class: "faint" }, "Asking the operator …"));
  let rows = null, wanted = "", items = [];
  const fill = () => {
    const fits = items.filter((one) => `${one.namespace}/${one.name} ${one.phase} ${one.version}`.toLowerCase().includes(wanted));
    section(rows, "rows", fits, (found) => found.map(listRow));
  };
  const build = () => {
    rows = el("tbody", { role: "rowgroup" });
    const heads = ["Rollout", "Phase", "Version", "Stable", "Step", "Weight", "Gates", "What happened"];
    main.replaceChildren(
      el("div", { class: "list-head" }, el("h1", {}, namespace ? `Rollouts in ${namespace}` : "Rollouts"),
        el("label", {}, "Find", el("input", { type: "search", placeholder: "name, namespace, phase, version",
          input: (event) => { wanted = event.target.value.toLowerCase(); fill(); } }))),
      el("div", { class: "card flush" }, el("table", { class: "rollouts", role: "table" },
        el("caption", { class: "hidden" }, "ModelRollouts that you may see; those that need somebody come first"),
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads.map((text) => el("th", { scope: "col", role: "columnheader" }, text)))), rows)));
  };
  follow(`/api/v1/rollouts${namespace ? `?namespace=${encodeURIComponent(namespace)}` : ""}`, (data) => {
    if (!rows?.isConnected) build();
    const urgency = ["bad", "warn", "busy", "good"];
    items = data.items.toSorted((a, b) => urgency.indexOf(mood(a)) - urgency.indexOf(mood(b)));
    fill();
    if (items.length === 0) section(rows, "rows", "none", () => el("tr", { role: "row" }, el("td", { colspan: 8, role: "cell" }, "There is no ModelRollout yet.")));
  });
}

function listRow(one) {
  const cell = (label, text) => el("td", { role: "cell", class: "narrow", "data-label": label }, text);
  return el("tr", { role: "row" },
    el("td", { role: "cell", class: "name" }, el("a", { href: `#/${one.namespace}/${one.name}` }, one.name), el("span", {}, one.namespace)),
    el("td", { role: "cell" }, phase(one)),
    cell("Version", one.version), cell("Stable", one.stable), cell("Step", one.step), cell("Weight", one.weight), cell("Gates", one.gates),
    el("td", { role: "cell", class: "message" }, one.message));
}

/** What asks for attention stands out: also a release that goes on while a gate is breached or nothing is seen. */
function mood(one) {
  const breached = Array.isArray(one.gates) ? one.gates.some((gate) => gate.verdict === "Breached") : one.gates?.includes("Breached");
  const usual = MOODS[one.phase] ?? "warn";
  return usual === "busy" && (breached || HELD.has(one.reason)) ? "warn" : usual;
}

function phase(one) {
  const kind = mood(one);
  return el("span", { class: `phase ${kind}` }, el("span", { "aria-hidden": "true" }, SIGNS[kind]), one.phase ?? "unknown");
}

/* ---- One rollout ---- */

function showOne(namespace, name) {
  show(`${namespace}/${name}`, `${namespace} / ${name}`);
  main.replaceChildren(el("p", { class: "faint" }, "Asking the operator …"));
  let places = null, latest = null;
  const names = ["head", "lines", "weight", "preflight", "steps", "pods", "history", "remarks", "gates", "commands"];
  const build = () => {
    places = Object.fromEntries(names.map((one) => [one, el("div", { class: one === "remarks" ? "" : "block" })]));
    places.lines.setAttribute("aria-live", "polite");
    const { head, lines, weight, preflight, steps, pods, history, remarks, gates, commands } = places;
    main.replaceChildren(head, lines, el("div", { class: "columns" },
      el("div", { class: "column" }, weight, preflight, steps, commands, pods, history), el("div", { class: "column" }, el("div", {}, remarks, gates))));
    new ResizeObserver(() => latest && charts(places, latest)).observe(gates);
  };
  follow(`/api/v1/rollouts/${namespace}/${name}`, (data) => {
    if (!places?.head.isConnected) build();
    latest = data;
    document.title = `${SIGNS[mood(data)]} ${data.phase ?? "?"} · ${namespace}/${name}`;
    section(places.head, "head", [data.namespace, data.name, data.phase, data.reason, data.observing], () => head(data));
    section(places.lines, "lines", [mood(data), data.lines], () => lines(data));
    section(places.preflight, "preflight", data.preflight, preflight);
    section(places.steps, "steps", data.steps, ladder);
    section(places.remarks, "remarks", data.remarks, remarks);
    section(places.pods, "pods", [data.pods, data.adopted], () => pods(data.pods, data.adopted));
    section(places.history, "history", [data.history, Math.floor(now() / 60000)], () => history(data.history));
    section(places.commands, "commands", data.commands, commands);
    charts(places, data);
  });
}

/** What depends on the width of the page is drawn anew with it. */
function charts(places, data) {
  if (!places.gates.clientWidth) return; // on its way out
  section(places.weight, "weight", [data.weight, data.versions, data.phase, data.readings?.at, data.readings?.asked, data.readings?.observed, places.weight.clientWidth],
    () => weight(data, places.weight.clientWidth));
  section(places.gates, "gates", [data.gates, data.readings, places.gates.clientWidth], () => gates(data, places.gates.clientWidth));
}

function head(data) {
  return [el("div", { class: "rollout-head" }, el("h1", {}, `${data.namespace}/${data.name}`), phase(data),
    data.reason && data.reason !== data.phase ? el("span", { class: "faint" }, data.reason) : null,
    data.observing ? el("span", { class: "phase warn" }, "observe mode: no verdict acts") : null)];
}

function lines(data) {
  const { now: serving, why, next } = data.lines;
  return el("section", { class: `card lines ${mood(data)}`, "aria-label": "In three lines" }, el("dl", {},
    el("dt", {}, "Now"), el("dd", { class: "now" }, serving),
    el("dt", {}, "Why"), el("dd", {}, why),
    el("dt", {}, "Next"), el("dd", {}, typed(next))));
}

/** What is to be typed looks like it. */
function typed(text) {
  return text.split(/(kubectl [^;(]*[^;( ])/).map((part) => (part.startsWith("kubectl ") ? el("code", {}, part) : part));
}

function weight(data, width) {
  const { stable, candidate } = data.versions;
  const { asked, observed } = data.weight;
  if (!stable && !candidate) return [];
  const share = observed ?? asked;
  const has = candidate && stable;
  const said = has ? `version ${stable} ${100 - share} %, version ${candidate} ${share} %` : `version ${stable ?? candidate} serves all users`;
  const bar = svg("svg", { class: "split-bar", role: "img", "aria-label": said },
    svg("rect", { class: "fill-old", width: "100%", height: "100%", rx: 5 }),
    has ? svg("rect", { class: "fill-new", x: `${100 - share}%`, width: `${share}%`, height: "100%", rx: 5 }) : null,
    has && observed !== asked ? svg("line", { class: "mark", x1: `${100 - asked}%`, x2: `${100 - asked}%`, y1: 0, y2: 20 }) : null);
  const names = el("p", { class: "split-names" },
    el("span", {}, swatch("old"), `${has || stable ? `stable ${stable}` : `first version ${candidate}`}: ${has ? 100 - share : 100} %`),
    has ? el("span", {}, swatch("new"), `candidate ${candidate}: `, el("b", {}, `${share} %`),
      observed === null ? " (not confirmed by the gateway)" : observed !== asked ? ` (asked: ${asked} %)` : "") : null);
  const over = data.readings && data.readings.at.length > 1 ? weightChart(data.readings, width - 38, now()) : null;
  return el("section", { class: "card" }, el("h2", {}, "Who gets the requests"), el("div", { class: "split" }, bar, names),
    over, over ? el("p", { class: "faint" }, "solid: observed; dashed: asked") : null, late(data));
}

/** Charts that begin after the candidate say so, lest they are taken for the whole story. */
function late(data) {
  if (!data.readings) return null;
  const begun = data.readings.at[0], since = Date.parse(data.readings.trialSince) / 1000;
  return begun - since > 60 ? el("p", { class: "faint" }, `All charts begin at ${clock(begun, now())}, when the operator started; it does not remember what was before.`) : null;
}

function swatch(kind) {
  return svg("svg", { class: "swatch", "aria-hidden": "true", viewBox: "0 0 26 10" }, svg("line", { class: `series ${kind}`, x1: 1, x2: 25, y1: 5, y2: 5 }));
}

function ladder(steps) {
  const rung = (one) => {
    const [sign, word] = RUNGS[one.state];
    const asks = one.people || `hold ${one.hold}`;
    const said = one.state !== "current" ? asks : one.people ? `${one.people} · ${one.progress}` : one.progress;
    return el("li", { class: `rung ${one.state}`, "aria-current": one.state === "current" ? "step" : null },
      el("span", { class: "sign", "aria-hidden": "true" }, sign), el("span", { class: "weight" }, `${one.weight} %`),
      el("span", { class: "said" }, one.name ? `${one.name} · ` : "", el("span", { class: "state" }, word), ` · ${said}`),
      one.state === "current" && !one.people ? meter(one.done, `${one.progress} of the hold`, "busy") : null);
  };
  return el("section", { class: "card" }, el("h2", {}, "Steps"), el("ol", { class: "ladder" }, steps.map(rung)));
}

function remarks(found) {
  if (found.length === 0) return [];
  return el("ul", { class: "remarks", "aria-label": "What is to be said of the gates" },
    found.map((one) => el("li", { class: one.loud ? "loud" : "" }, one.text)));
}

function gates(data, width) {
  if (data.gates.length === 0) return el("section", { class: "card" }, el("h2", {}, "Gates"), el("p", { class: "faint" }, "This rollout has no gate: steps go on by time alone."));
  const columns = Math.max(1, Math.floor((width + 17.6) / (420 + 17.6)));
  const each = (width - 17.6 * (Math.min(columns, data.gates.length) - 1)) / Math.min(columns, data.gates.length) - 39;
  const legend = data.readings ? el("p", { class: "faint legend" }, "In the charts, the band is where the candidate's value may lie as far as is known; the shaded side is beyond the limit.") : null;
  return [legend, el("div", { class: "gates" }, data.gates.map((one) => gate(data, one, Math.max(each, 220))))];
}

function gate(data, one, width) {
  const [usual, sign, meaning] = VERDICTS[one.verdict] ?? ["", "…", "nothing is known yet"];
  const kind = one.leaning ? "warn" : usual;
  const number = (mark, name, text, small) => [el("div", {}, el("dt", {}, mark ? swatch(mark) : null, name), el("dd", { class: small ? "small" : "" }, text))];
  return el("section", { class: "card gate", "aria-label": `gate ${one.name}` },
    el("div", { class: "gate-head" }, el("h3", {}, one.name),
      el("span", { class: `phase ${kind}`, title: meaning }, el("span", { "aria-hidden": "true" }, sign), one.verdict ?? "not judged", one.leaning ? ", leaning" : "")),
    el("dl", { class: "numbers" },
      number("new", data.versions.tried ? `candidate ${data.versions.tried}` : "candidate", one.value),
      number("old", "stable", one.baseline), number("limit", "limit", one.limit, one.limit.length > 12),
      number(null, "samples", one.samples, true), one.sees === "–" ? null : number(null, "would have seen", one.sees, true)),
    over(data, one, width), evidence(one)
  );
}

function over(data, one, width) {
  const series = data.readings?.gates[one.name];
  if (!series || !series.value.some((value) => value !== null)) {
    const why = data.versions.candidate ? "The chart begins with the first reading." : "No candidate is on trial, so there is nothing to draw.";
    return el("p", { class: "empty" }, why);
  }
  return gateChart(data.readings, one, width, now());
}

function evidence(one) {
  if (one.evidence === null) return null;
  const percent = Math.floor(100 * Math.min(one.evidence, 1));
  const kind = one.evidence >= 1 ? "bad" : one.evidence >= 0.5 ? "warn" : "good";
  return el("div", { class: "evidence" },
    el("p", { class: "words" }, el("span", {}, "evidence of harm"), el("span", {}, percent >= 100 ? "enough to act" : `${percent} % of what acting takes`)),
    meter(one.evidence, `evidence of harm: ${percent} percent of what acting takes`, kind));
}

function pods(rows, adopted) {
  if (rows?.length === 0 && !adopted) return [];
  const own = rows === null ? el("p", { class: "faint" }, "Not shown: you may not list Deployments in this namespace.")
    : rows.length === 0 ? null
      : table(["Role", "Version", "Revision", "Ready"], rows.map((row) => [row.role, row.version, el("code", {}, row.revision), `${row.ready} of ${row.desired}`]));
  return el("section", { class: "card" }, el("h2", {}, "Pods"), own, adopted ? el("p", {}, `Adopted: ${adopted}.`) : null);
}

/** While the candidate waits at weight 0: what was looked at before any user meets it. */
function preflight(checks) {
  if (checks.length === 0) return [];
  const check = (one) => {
    const [kind, sign] = CHECKS[one.state] ?? ["", "?"];
    return el("li", {}, el("span", { class: `phase ${kind}` }, el("span", { "aria-hidden": "true" }, sign), one.state),
      el("span", {}, el("b", {}, one.check), ` ${one.message}`));
  };
  return el("section", { class: "card" }, el("h2", {}, "Before the first traffic"), el("ul", { class: "checks" }, checks.map(check)));
}

function table(heads, rows) {
  return el("table", { class: "plain" }, el("thead", {}, el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))))));
}

function history(entries) {
  if (entries.length === 0) return [];
  const past = (one) => el("li", {}, el("span", {},
    el("span", { class: `outcome` }, `${one.version} ${one.outcome}`), ` at ${one.weight} % · `,
    el("time", { datetime: one.ended, title: one.ended }, `${age(one.ended, now())} ago`)), el("span", { class: "faint" }, one.message));
  return el("section", { class: "card" }, el("h2", {}, "Past releases"), el("ol", { class: "past" }, entries.map(past)));
}

function commands(found) {
  if (found.length === 0) return [];
  const one = (said) => el("li", { class: "command" }, copyable([el("b", {}, said.title), ` ${said.does}`], said.command, said.title),
    el("details", {}, el("summary", {}, "the same with kubectl alone"), copyable(["Paste it into a shell."], said.kubectl, `${said.title} with kubectl alone`)));
  return el("section", { class: "card" }, el("h2", {}, "What you can type"), el("ul", { class: "commands" }, found.map(one)));
}

function copyable(title, text, what) {
  const button = el("button", { class: "quiet", type: "button", "aria-label": `Copy the command: ${what}`, click: async () => {
    const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Select it";
    if (!copied) getSelection().selectAllChildren(shown);
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  } }, "Copy");
  const shown = el("pre", { tabindex: "0" }, text);
  return el("div", { class: "copy" }, el("p", {}, title), button, shown);
}

/* ---- Where to ---- */

function route() {
  turn += 1;
  clearTimeout(timer);
  lastLook = 0;
  if (!sessionStorage.getItem(KEY)) return signIn();
  const [, namespace, name] = location.hash.match(/^#\/([a-z0-9.-]+)(?:\/([a-z0-9.-]+))?$/) ?? [];
  if (name) showOne(namespace, name);
  else showList(namespace ?? "");
}

addEventListener("hashchange", () => {
  if (location.hash.startsWith("#/") || !location.hash) {
    route();
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
});
setInterval(() => pulse.classList.contains("lost") && beat(pulse.textContent.split(";")[0]), 1000);
if (sessionStorage.getItem(KEY)) introduce();
route();
