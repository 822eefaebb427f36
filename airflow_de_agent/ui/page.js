"use strict";
// The page of the view. All that comes from the API is untrusted: it becomes text nodes, never markup, never an address.

const POLL_MS = 1000;
const PATIENCE_MS = 30000;
const REFRESH_MS = 3000;
const REFRESH_FOR_MS = 10 * 60 * 1000; // a page left open does not ask for ever
const FINAL_STATES = ["success", "failed", "upstream_failed", "skipped", "removed"];
const REST = "Nothing came within 30 seconds. If the drainer is at work the diagnosis will still appear here: reload "
  + "the page. Otherwise look at drainer.log in the spool directory of the server (by default AIRFLOW_HOME/de_agent/spool), "
  + "or run de-agent doctor.";

const main = document.getElementById("main");
const statusLine = document.getElementById("status");
const csrfToken = document.querySelector('meta[name="csrf-token"]').content;
const dagId = dagOfAddress();
const place = placeOfAddress();
let shownAnswer = null;

function dagOfAddress() {
  const parts = location.pathname.split("/");
  return parts[parts.length - 1] === "page" ? decodeURIComponent(parts[parts.length - 2]) : "";
}

function placeOfAddress() {
  const query = new URLSearchParams(location.search);
  const found = {};
  for (const name of ["run_id", "task_id", "map_index", "try_number"]) {
    const value = query.get(name);
    if (value && value !== "{MAP_INDEX}") found[name] = value;
  }
  return found;
}

function el(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== "").map((c) => (c instanceof Node ? c : String(c))));
  return node;
}

function words(value) { return String(value).replaceAll("_", " "); }

function sentence(value) { const text = words(value); return text.charAt(0).toUpperCase() + text.slice(1); }

function label(item) {
  return item.task_id + (item.map_index >= 0 ? `[${item.map_index}]` : "");
}

function when(value) {
  const date = new Date(typeof value === "number" ? value * 1000 : value);
  return Number.isNaN(date.getTime()) ? String(value) : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
}

function ordinal(n) {
  const tail = n % 100 >= 11 && n % 100 <= 13 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[n % 10] || "th";
  return `${n}${tail}`;
}

// Addresses: always this very page, with a place of our making in its query.
function address(target) {
  const query = new URLSearchParams();
  for (const name of ["run_id", "task_id", "map_index", "try_number"]) {
    if (target[name] !== undefined && target[name] !== null && target[name] !== "") query.set(name, target[name]);
  }
  const dag = target.dag_id === undefined ? dagId : target.dag_id;
  const base = dagId ? `../${encodeURIComponent(dag)}/page` : `dags/${encodeURIComponent(dag)}/page`;
  return `${base}?${query}`;
}

function link(target, text) { return el("a", { href: address(target) }, text); }

// The API.
async function ask(path, body) {
  const headers = { Accept: "application/json", "X-DE-Agent": "1" };
  const options = { headers, credentials: "same-origin", redirect: "manual", cache: "no-store" };
  if (body) {
    headers["Content-Type"] = "application/json";
    if (csrfToken) headers["X-CSRFToken"] = csrfToken;
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 || response.type === "opaqueredirect") throw new Error("Your session has ended. Sign in to Airflow again.");
  throw new Error(typeof answer.error === "string" ? answer.error : `The server answered ${response.status}.`);
}

function view(target) { return ask(`diagnoses?${new URLSearchParams(target)}`); }

// Asking for a diagnosis.
function diagnoseButton(text, target, again) {
  const button = el("button", { type: "button" }, text);
  button.addEventListener("click", () => diagnose(button, target, again));
  return button;
}

async function diagnose(button, target, again) {
  button.disabled = true;
  main.setAttribute("aria-busy", "true");
  say(`Diagnosing ${label(target)}…`);
  try {
    const asked = await ask("diagnose", target);
    if (await arrived({ ...target, try_number: asked.try_number }, asked.known)) {
      await again();
      say(`${label(target)} is diagnosed.`);
      return;
    }
    say(REST);
  } catch (error) {
    say(error.message);
  } finally {
    button.disabled = false;
    main.setAttribute("aria-busy", "false");
  }
}

async function arrived(target, known) {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end) {
    const { diagnosis } = await view(target);
    if (diagnosis && diagnosis.diagnosed_at !== known) return true;
    await new Promise((wake) => { setTimeout(wake, POLL_MS); });
  }
  return false;
}

function say(text) { statusLine.textContent = text; }

// One diagnosis.
function verdict(d) {
  const rerun = { yes: ["good", "A rerun is safe"], no: ["bad", "A rerun is not safe"] }[d.rerun_is_safe];
  const lasting = { permanent: ["bad", "Permanent"], transient: ["good", "Transient"] }[d.transience];
  const [rerunClass, rerunText] = rerun || ["warn", "Rerun safety unknown"];
  const [lastingClass, lastingText] = lasting || ["warn", "Permanent or transient: unknown"];
  return el("ul", { class: "verdict", "aria-label": "Verdict" },
    el("li", {}, sentence(d.category)),
    el("li", { class: lastingClass }, lastingText),
    el("li", { class: rerunClass }, rerunText),
    el("li", {}, `Confidence ${Math.round(d.confidence * 100)} %`));
}

function section(title, ...content) { return [el("h2", {}, title), ...content]; }

function list(tag, items) { return el(tag, {}, ...items.map((item) => el("li", {}, item))); }

function proof(quote) {
  const source = words(quote.source) + (quote.line ? `, line ${quote.line}` : "");
  return el("figure", {}, el("figcaption", {}, sentence(source)), el("pre", {}, quote.quote));
}

function details(d) {
  const rows = [["Confidence because", d.confidence_why], ["Rerun", d.rerun_is_safe_why], ["Operator", d.operator]];
  if (d.downstream_count) rows.push(["Tasks that cannot run", d.downstream_count]);
  if (d.incident_count > 1) rows.push(["Same cause", `${d.incident_count} task instances in this incident`]);
  rows.push(["Failed", when(d.failed_at)]);
  const delay = d.on_request ? "on request" : `after ${d.seconds.toFixed(1)} s`;
  rows.push(["Answered", `${when(d.diagnosed_at)}, ${delay}, by ${d.engine}`]);
  const filled = rows.filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return el("dl", {}, ...filled.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function rootTask(d) {
  if (!d.root_cause_task || d.root_cause_task === d.task_id) return "";
  return el("p", {}, "The cause lies in ", link({ run_id: d.run_id, task_id: d.root_cause_task }, d.root_cause_task), ".");
}

function history(d) {
  if (d.times < 2) return [];
  const earlier = d.similar.map((s) => `${when(s.when)}: ${s.label}${s.fixed_by ? `, fixed by ${s.fixed_by}` : ""}`);
  return section("History", el("p", {}, `${ordinal(d.times)} time in 7 days.`), list("ul", earlier));
}

function diagnosisView(d) {
  return [
    verdict(d),
    el("p", { class: "cause" }, d.root_cause),
    rootTask(d),
    ...(d.next_steps.length ? section("What to do", list("ol", d.next_steps)) : []),
    ...(d.evidence.length ? section("Proof", ...d.evidence.map(proof)) : []),
    ...history(d),
    ...(d.evidence_gaps.length ? section("What could not be read", list("ul", d.evidence_gaps)) : []),
    ...section("About this answer", details(d)),
  ];
}

// The three kinds of page.
function taskInstanceView(answer) {
  const { diagnosis } = answer;
  const latest = answer.try_number === answer.latest_try;
  const title = `${label(answer)}, try ${answer.try_number}${latest && answer.state ? `: ${words(answer.state)}` : ""}`;
  return [
    el("div", { class: "row" }, el("h1", {}, title), actions(answer, diagnosis ? "Diagnose again" : "Diagnose")),
    tries(answer),
    ...(diagnosis ? diagnosisView(diagnosis) : [el("p", {}, nothingYet(answer))]),
  ];
}

function nothingYet(answer) {
  if (answer.can_be_diagnosed) return "There is no diagnosis of this try yet.";
  return `There is nothing to diagnose: this task instance is ${words(answer.state || "not started")}.`;
}

function tries(answer) {
  const others = answer.diagnosed_tries.filter((n) => n !== answer.try_number);
  if (!others.length) return "";
  return el("p", { class: "soft" }, "Diagnosed as well: ",
    ...others.flatMap((n) => [link({ ...place, try_number: n }, `try ${n}`), " "]));
}

function actions(answer, text) {
  if (!answer.can_be_diagnosed) return "";
  if (!answer.may_diagnose) return el("p", { class: "soft" }, "To diagnose you need the right to clear task instances of this DAG.");
  return diagnoseButton(text, target(answer), load);
}

function target(item) {
  return { run_id: item.run_id || place.run_id, task_id: item.task_id, map_index: item.map_index, try_number: item.try_number };
}

function runView(answer) {
  const nothing = !answer.groups.length && !answer.undiagnosed_count;
  return [
    el("h1", {}, "Diagnoses of this run"),
    nothing ? el("p", {}, "No task instance of this run failed.") : "",
    ...answer.groups.map(groupCard),
    answer.is_cut ? el("p", { class: "soft" }, "Only the newest 500 diagnoses are shown.") : "",
    ...(answer.undiagnosed_count ? section(`Failed, not diagnosed (${answer.undiagnosed_count})`, undiagnosed(answer)) : []),
  ];
}

function groupCard({ lead, symptoms }) {
  const card = el("article", { class: "card", "aria-label": label(lead) },
    el("p", {}, el("strong", {}, link(shown(lead), label(lead))), lead.root_cause_task && lead.root_cause_task !== lead.task_id
      ? ` (the cause lies in ${lead.root_cause_task})` : ""),
    el("p", {}, lead.root_cause), verdict(lead));
  if (symptoms.length) card.append(symptomList(symptoms));
  return card;
}

function symptomList(symptoms) {
  const rows = symptoms.map((s) => el("li", {}, link(shown(s), label(s)), ` ${sentence(s.category)}: ${s.root_cause}`));
  const more = symptoms.length === 1 ? "1 more task instance of this cause" : `${symptoms.length} more task instances of this cause`;
  const box = el("details", {}, el("summary", {}, more), el("ul", { class: "rows" }, ...rows));
  if (symptoms.length <= 5) box.open = true;
  return box;
}

function shown(record) {
  return { dag_id: record.dag_id, run_id: record.run_id, task_id: record.task_id, map_index: record.map_index, try_number: record.try_number };
}

function undiagnosed(answer) {
  return el("ul", { class: "rows" }, ...answer.undiagnosed.map((item) => {
    const row = el("li", { class: "row" },
      el("span", {}, link({ run_id: place.run_id, task_id: item.task_id, map_index: item.map_index }, label(item)), ` ${words(item.state)}`));
    if (!answer.may_diagnose) return row;
    const button = diagnoseButton("Diagnose", target(item), load);
    button.setAttribute("aria-label", `Diagnose ${label(item)}`);
    row.append(button);
    return row;
  }));
}

function dagView(answer) {
  const rows = answer.diagnoses.map((d) => el("li", {},
    el("p", {}, el("strong", {}, link(shown(d), dagId ? label(d) : `${d.dag_id}.${label(d)}`)), " ",
      link({ dag_id: d.dag_id, run_id: d.run_id }, d.run_id), " ", el("span", { class: "soft" }, when(d.failed_at))),
    el("p", {}, `${sentence(d.category)}: ${d.root_cause}`)));
  return [
    el("h1", {}, "Latest diagnoses"),
    rows.length ? el("ul", { class: "rows" }, ...rows) : el("p", {}, "Nothing has been diagnosed yet."),
    answer.is_cut ? el("p", { class: "soft" }, `The newest ${rows.length} are shown.`) : "",
  ];
}

const VIEWS = { task_instance: taskInstanceView, run: runView, dag: dagView };

function trail() {
  const steps = dagId ? [[{}, dagId]] : [];
  if (place.run_id) steps.push([{ run_id: place.run_id }, place.run_id]);
  if (place.task_id) steps.push([place, label({ task_id: place.task_id, map_index: Number(place.map_index ?? -1) })]);
  const last = steps.length - 1;
  const items = steps.map(([step, text], n) => (n === last ? el("span", { "aria-current": "page" }, text) : link(step, text)));
  // In a tab Airflow is around us; on a page of our own there must be a way back.
  if (window.top === window) items.unshift(el("a", { href: `${location.pathname.split(/\/(?:pluginsv2\/)?de[_-]agent\//)[0]}/` }, "Airflow"));
  document.getElementById("trail").replaceChildren(...items.map((item) => el("li", {}, item)));
  document.title = [steps.length ? steps[last][1] : "Diagnoses", "DE Agent"].join(" – ");
}

async function load() {
  try {
    show(await view(place));
  } catch (error) {
    main.replaceChildren(el("p", { class: "problem", role: "alert" }, error.message));
  }
  main.setAttribute("aria-busy", "false");
}

function show(answer) {
  main.replaceChildren(...VIEWS[answer.kind](answer).filter((node) => node !== ""));
  shownAnswer = answer;
}

// A callback tells of a failure before Airflow has written the state down, and a diagnosis follows a failure by seconds.
function mayChange(answer) {
  if (!answer || answer.kind !== "task_instance" || answer.try_number !== answer.latest_try) return false;
  return !FINAL_STATES.includes(answer.state) || (answer.can_be_diagnosed && !answer.diagnosis);
}

function isAsking() { return main.getAttribute("aria-busy") === "true"; }

async function refresh() {
  if (document.hidden || isAsking() || !mayChange(shownAnswer)) return;
  const answer = await view(place).catch(() => null);
  if (answer && !isAsking() && JSON.stringify(answer) !== JSON.stringify(shownAnswer)) show(answer);
}

// Airflow 3 keeps the reader's choice of light or dark here.
function followScheme() {
  let theme = null;
  try { theme = localStorage.getItem("theme"); } catch { /* storage is closed to us: the system's choice counts */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.scheme = theme;
  else delete document.documentElement.dataset.scheme;
}

followScheme();
addEventListener("storage", followScheme);
trail();
load();
const refreshing = setInterval(refresh, REFRESH_MS);
setTimeout(() => clearInterval(refreshing), REFRESH_FOR_MS);
