// Asks the monitor once a second and shows what it says. Nothing is kept but the last minutes and, in this tab, the token.

import { AlarmEntry, AlarmGroup } from "./alarms.js";
import { Card, MuteForm, clockTime, put, show } from "./cards.js";
import { Curves } from "./charts.js";
import { readColours } from "./colours.js";

const POLL_SECONDS = 1;
const HIDDEN_POLL_SECONDS = 10; // while nobody sees the page, its title is all that has to be right
const CALM_DRAW_SECONDS = 10; // between two pictures for those who asked their system for less motion
const TIMEOUT_SECONDS = 5;
const MOST_ROOMY = 6; // sources; with more, those in trouble come first, and the cards of the others are short
const TOKEN = "dasvdd-token";

const at = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const curves = new Curves();
const cards = new Map();
const entries = new Map();
const groups = new Map(); // of sources with several alarms that nobody has answered
const muteAll = new MuteForm("*", "Mute all sources", act);
let keep = 600;
let colours = readColours();
let lastAnswer = null;
let failures = 0;
let lastDrawn = -Infinity;
let known = null; // what was announced: the alarms and the sources that are not well
let timer = 0;

class Refused extends Error {}

// Throws what the monitor says against it, and Refused without the token.
async function request(path, { body, signal, seconds = TIMEOUT_SECONDS } = {}) {
  const headers = { "X-Dasvdd-Page": "1" };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method: body ? "POST" : "GET", body: body && JSON.stringify(body), headers, cache: "no-store",
    credentials: "omit", redirect: "error",
    signal: AbortSignal.any([AbortSignal.timeout(1000 * seconds), ...(signal ? [signal] : [])]),
  });
  if (answer.status === 401) throw new Refused("This is not the token.");
  if (answer.ok) return answer;
  const isJson = answer.headers.get("Content-Type") === "application/json";
  throw new Error(isJson ? (await answer.json()).said : await answer.text());
}

const ask = async (path, body) => (await request(path, { body })).json();

async function act(what, wanted) {
  try {
    await ask(`api/${what}`, wanted);
  } catch (error) {
    throw error.name === "Error" ? error : new Error("The monitor did not answer. Nothing may have changed: look and try again.");
  }
  say({ acknowledge: "Answered.", mute: "Muted.", unmute: "The mute has ended." }[what]);
  await poll();
  if (what === "acknowledge") (at("to-answer").hidden ? at("answered-title") : at("to-answer-title")).focus();
}

function say(words) {
  at("news").textContent = words;
}

async function poll() {
  clearTimeout(timer);
  let again = document.hidden ? HIDDEN_POLL_SECONDS : POLL_SECONDS;
  try {
    if (curves.newest < 0) takeCurves(await ask("api/history"));
    const status = await ask(`api/status${curves.newest < 0 ? "" : `?after=${curves.newest}`}`);
    if (status.curves) takeCurves(status.curves);
    lastAnswer = status;
    failures = 0;
    render(status);
  } catch (error) {
    if (error instanceof Refused) {
      askForToken(error.message);
      again = 0;
    } else {
      failures += 1;
      if (failures > 1) renderLost(error); // a box that is busy may drop one request
    }
  }
  clearTimeout(timer);
  if (again) timer = setTimeout(poll, 1000 * again);
}

function takeCurves(answer) {
  keep = answer.keep;
  curves.add(answer);
}

function askForToken(words) {
  const had = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  show(at("watched"), false);
  show(at("forget"), false);
  show(at("login"), true);
  setVerdict("quiet", "A token is needed", "");
  putLink("quiet", "not signed in");
  put(document.querySelector("#login .said"), had ? words : "");
  at("token").focus();
}

function renderLost(error) {
  const since = lastAnswer ? `The newest answer is of ${clockTime(lastAnswer.time)}; what stands below may be wrong.` : "";
  const reason = error.name === "Error" ? error.message : "";
  setVerdict("bad", "No answer from the monitor", `${since} ${reason} It is asked again every second.`);
  putLink("bad", "no answer");
  document.body.classList.add("stale");
  announce({ verdict: ["The monitor does not answer."] });
}

function render(status) {
  document.body.classList.remove("stale");
  show(at("login"), false);
  show(at("watched"), true);
  show(at("forget"), sessionStorage.getItem(TOKEN) !== null);
  put(at("machine"), status.machine);
  put(at("version"), `dasvdd ${status.version}`);
  putLink("good", `live, ${clockTime(status.time)}`);
  renderVerdict(status);
  renderNotice(status);
  put(at("privacy"), status.privacy);
  renderCards(status);
  renderAlarms(status);
  if (!at("mute-all").children.length) at("mute-all").append(muteAll.element);
  muteAll.update(status.all_muted);
  show(at("everything"), status.keeps_alarms);
  announce({
    alarms: status.sources.filter((source) => source.in_alarm).map((source) => `Alarm: ${source.name}.`),
    bad: status.sources.filter((source) => source.tone === "bad").map((source) => `${source.name}: ${source.title}.`),
  });
}

// Says what was not there at the last call, politely. The first call after loading says nothing: the page is read anyway.
function announce(groups) {
  const now = new Set(Object.values(groups).flat());
  const fresh = known === null ? [] : [...now].filter((words) => !known.has(words));
  known = now;
  if (fresh.length) say(fresh.join(" "));
}

function setVerdict(tone, words, besides) {
  at("verdict").dataset.tone = tone;
  put(at("verdict"), words);
  put(at("besides"), besides);
  const title = `${tone === "alarm" ? "▲ " : tone === "bad" ? "! " : ""}${words}`;
  if (document.title !== title) document.title = title;
}

function putLink(tone, words) {
  at("link").dataset.tone = tone;
  put(at("link"), words);
}

const names = (sources) => (sources.length > 3 ? `${sources.slice(0, 2).map((s) => s.name).join(", ")} and ${sources.length - 2} more` : sources.map((s) => s.name).join(", "));

function renderVerdict(status) {
  const all = status.sources;
  const alarming = all.filter((source) => source.in_alarm);
  const bad = all.filter((source) => source.tone === "bad");
  const warned = all.filter((source) => source.tone === "warning" || source.drift?.drifting);
  const muted = all.filter((source) => source.muted);
  const waiting = Object.values(status.unanswered).reduce((sum, number) => sum + number, 0);
  const besides = [];
  if (alarming.length && bad.length) besides.push(`Not watched: ${names(bad)}.`);
  if (warned.length && (alarming.length || bad.length)) besides.push(`To look at: ${names(warned)}.`);
  if (muted.length) besides.push(`Muted: ${names(muted)}.`);
  const calm = !status.faults.length && !alarming.length && !bad.length && !warned.length;
  if (waiting && !calm) besides.push(waiting === 1 ? "One alarm waits for an answer." : `${waiting} alarms wait for an answer.`);
  for (const held of status.held) besides.push(`Held until ${clockTime(held.until)} for ${held.receiver}: ${held.events} ${held.events === 1 ? "event" : "events"}.`);
  const rest = besides.join(" ");
  const starting = all.filter((source) => source.state === "STARTING").length;
  if (status.faults.length) setVerdict("bad", "The monitor hangs", `${status.faults.join("; ")}. Restart it. ${rest}`);
  else if (alarming.length) setVerdict("alarm", `Alarm: ${names(alarming)}`, rest);
  else if (bad.length) setVerdict("bad", `Not watched: ${names(bad)}`, rest);
  else if (warned.length) setVerdict("warning", `To look at: ${names(warned)}`, rest);
  else if (waiting) setVerdict("warning", `No alarm now: ${waiting} ${waiting === 1 ? "waits" : "wait"} for an answer`, rest);
  else if (starting) setVerdict("quiet", "Starting", rest);
  else setVerdict("good", all.length === 1 ? `${all[0].name} is well` : `All ${all.length} sources are well`, rest);
}

function renderNotice(status) {
  const kept = status.keeps_alarms ? status.state_trouble : "Alarms are not kept, so none can be answered or muted here. Add [state] with a directory to monitor.toml and restart the monitor.";
  put(at("notice"), kept);
  show(at("notice"), Boolean(kept));
}

// Makes what is new, removes what is gone, and leaves the rest where it is.
function reconcile(map, items, key, make, remove) {
  const wanted = new Set(items.map(key));
  for (const [id, entry] of map) {
    if (!wanted.has(id)) {
      remove(entry);
      map.delete(id);
    }
  }
  for (const item of items) if (!map.has(key(item))) map.set(key(item), make(item));
}

function placeInOrder(list, elements) {
  elements.forEach((element, i) => {
    if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null);
  });
}

function renderCards(status) {
  reconcile(cards, status.sources, (source) => source.name, (source) => new Card(source.name, act), (card) => card.element.remove());
  const dense = status.sources.length > MOST_ROOMY;
  const place = (source) => (source.in_alarm ? 0 : 1 + ["bad", "warning", "quiet", "good"].indexOf(source.tone));
  const ordered = dense ? [...status.sources].sort((a, b) => place(a) - place(b)) : status.sources;
  placeInOrder(at("cards"), ordered.map((source) => cards.get(source.name).element));
  at("cards").classList.toggle("dense", dense);
  const told = new Set(status.alarms.map((alarm) => alarm.source));
  const waiting = new Set(status.alarms.filter((alarm) => alarm.verdict === null).map((alarm) => alarm.source));
  for (const source of status.sources) {
    const answered = told.has(source.name) && !waiting.has(source.name);
    cards.get(source.name).update(source, { keepsAlarms: status.keeps_alarms, dense, answered });
  }
  if (!calm.matches || performance.now() - lastDrawn >= 1000 * CALM_DRAW_SECONDS) draw();
}

function draw() {
  if (document.hidden || !curves.steps.length) return;
  lastDrawn = performance.now();
  for (const [name, card] of cards) {
    const curve = curves.sources.get(name);
    if (curve) card.draw(curves, curve, curves.shown(keep), colours);
  }
}

function drawAll() {
  draw();
  for (const entry of entries.values()) entry.evidence.draw();
}

function renderAlarms(status) {
  reconcile(entries, status.alarms, (alarm) => alarm.id, (alarm) => new AlarmEntry(alarm, act, request), (entry) => entry.remove());
  const sources = new Map(status.sources.map((source) => [source.name, source]));
  const elements = (alarms) => alarms.map((alarm) => entries.get(alarm.id).element);
  const open = status.alarms.filter((alarm) => alarm.verdict === null);
  const old = status.alarms.filter((alarm) => alarm.verdict !== null);
  const together = [...Map.groupBy(open, (alarm) => alarm.source).values()].filter((alarms) => belongTogether(alarms, status.unanswered));
  const grouped = new Map(together.map((alarms) => [alarms[0].source, alarms]));
  for (const alarm of status.alarms) {
    const inGroup = alarm.verdict === null && grouped.has(alarm.source);
    entries.get(alarm.id).update(alarm, status.time, sources.get(alarm.source), inGroup);
  }
  const shown = new Set(); // each group once, where its newest alarm is
  for (const alarm of open) shown.add(grouped.get(alarm.source) ?? [alarm]);
  const groupsBefore = [...groups.entries()];
  reconcile(groups, together, (alarms) => alarms[0].source, (alarms) => new AlarmGroup(alarms[0].source, act), () => {});
  for (const [source, alarms] of grouped) {
    groups.get(source).update(alarms, status.unanswered[source], status.time, sources.get(source));
    placeInOrder(groups.get(source).list, elements(alarms));
  }
  placeInOrder(at("open-alarms"), [...shown].map((alarms) => groups.get(alarms[0].source)?.element ?? entries.get(alarms[0].id).element));
  placeInOrder(at("old-alarms"), elements(old));
  for (const [source, group] of groupsBefore) if (!groups.has(source)) group.element.remove(); // what it held stands elsewhere now
  show(at("to-answer"), open.length > 0);
  show(at("answered"), old.length > 0);
}

// Several alarms of one source are one entry, unless somebody is just answering one of them.
function belongTogether(alarms, unanswered) {
  const busy = () => alarms.some((alarm) => entries.get(alarm.id).element.contains(document.activeElement));
  return unanswered[alarms[0].source] > 1 && (groups.has(alarms[0].source) || !busy());
}

document.querySelector("#login form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at("token").value.trim());
  at("token").value = "";
  poll();
});
at("forget").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  location.reload();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
addEventListener("resize", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colours = readColours();
  drawAll();
});

if (document.documentElement.dataset.token === "needed" && !sessionStorage.getItem(TOKEN)) askForToken("");
else poll();
