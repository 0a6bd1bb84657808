// One card a source, one entry an alarm: made once, then only changed where something is new.

import { drawScore, inWords, times } from "./charts.js";
import { decibels, drawHeard, drawStrip, hertz } from "./heat.js";

const SIGNS = { good: "✓", quiet: "–", warning: "!", bad: "!", alarm: "▲", muted: "∅" };
const ALARM_ADVICE = "Look at the machine, then answer the alarm.";
const ANSWERED_ADVICE = "The alarm is answered. It ends once the scores are normal again.";
const DRIFT_ADVICE = "If the machine is healthy, calibrate on site: dasvdd-monitor calibrate.";
const LOWEST_DBFS = -100;
export const NOTABLE = 3; // times its usual residual; below, a band is not worth a word
const WORDS_EVERY = 5; // pictures: words that change with each could not be read

export function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

export const cardId = (name) => `source-${encodeURIComponent(name)}`;
export const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
export const clockTime = (seconds) => clock.format(new Date(1000 * seconds));
export const dayTime = (seconds) => day.format(new Date(1000 * seconds));

export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

function figure(value, digits = 4) {
  return value === null || value === undefined ? "not known" : String(Number(value.toPrecision(digits)));
}

export function putPills(place, pills) {
  const wanted = JSON.stringify(pills);
  if (place.dataset.shown === wanted) return;
  place.dataset.shown = wanted;
  place.replaceChildren(...pills.map(([tone, words]) => {
    const pill = document.createElement("span");
    pill.className = "pill";
    pill.dataset.tone = tone;
    const sign = document.createElement("span");
    sign.setAttribute("aria-hidden", "true");
    sign.textContent = SIGNS[tone];
    pill.append(sign, ` ${words}`);
    return pill;
  }));
}

// Calls `work` on submit, says what came of it in the form's own place, and keeps its button from a second press.
export function onSubmit(form, said, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await pressed(form.querySelector("button"), said, () => work(new FormData(form)));
  });
}

async function pressed(button, said, work) {
  button.disabled = true;
  put(said, "");
  try {
    await work();
  } catch (error) {
    put(said, error.message);
  } finally {
    button.disabled = false;
  }
}

export class MuteForm {
  constructor(source, summary, act) {
    this.element = copy("mute-template");
    const find = (selector) => this.element.querySelector(selector);
    this.now = find(".muted-now");
    this.begin = find(".mute-begin");
    this.summary = summary;
    const said = this.element.lastElementChild;
    onSubmit(find("form"), said, async (data) => {
      await act("mute", { source, seconds: Number(data.get("seconds")), note: data.get("note") });
      this.begin.open = false;
    });
    const end = find(".end-mute");
    end.addEventListener("click", () => pressed(end, said, () => act("unmute", { source })));
  }

  update(mute) {
    show(this.now, mute !== null);
    put(this.begin.firstElementChild, mute ? "Mute for longer or shorter" : this.summary);
    if (mute) put(this.now.firstElementChild, `Muted until ${dayTime(mute.until)}${mute.note ? `: ${mute.note}` : ""}`);
  }
}

export class Card {
  constructor(name, act) {
    this.element = copy("card-template");
    this.find = (selector) => this.element.querySelector(selector);
    put(this.find("h3"), name);
    this.element.setAttribute("aria-label", name);
    this.element.id = cardId(name);
    this.mute = new MuteForm(name, `Mute ${name}`, act);
    this.find(".mute-place").append(this.mute.element);
    this.find(".facts").addEventListener("toggle", () => this.facts());
    this.drawn = 0;
  }

  // `dense`: there are so many cards that those of sources that are well are kept short. `answered`: so are all its alarms.
  update(source, { keepsAlarms, dense, answered }) {
    const judged = source.tone === "good" || source.state === "CLIPPED";
    const ratio = source.smoothed_score === null ? null : source.smoothed_score / source.threshold;
    const tone = source.in_alarm ? "alarm" : source.tone;
    this.element.dataset.tone = tone;
    this.openMore(!dense || ["alarm", "warning"].includes(tone));
    show(this.find(".more > summary"), dense);
    const pills = [[source.tone, source.title]];
    if (source.in_alarm) pills.unshift(["alarm", "Alarm"]);
    if (source.muted) pills.push(["muted", "Muted"]);
    const drifts = Boolean(source.drift?.drifting);
    if (drifts) pills.push(["warning", "Drifts"]);
    putPills(this.find(".pills"), pills);
    put(this.find(".number"), judged && ratio !== null ? times(ratio) : "Not judged");
    put(this.find(".unit"), judged && ratio !== null ? "the threshold" : "");
    const over = source.latched_alarms > 0 && ratio <= 1;
    const alarm = over ? "The scores are normal again; the alarm waits for an answer." : "It differs from normal running.";
    put(this.find(".meaning"), source.in_alarm && judged ? alarm : source.tone === "good" ? "" : source.meaning);
    put(this.find(".detail"), source.tone !== "good" ? this.detail(source) : drifts ? `It drifts: ${source.drift.reasons.join("; ")}` : "");
    const advice = source.in_alarm && judged ? (answered ? ANSWERED_ADVICE : ALARM_ADVICE) : source.advice || (drifts ? DRIFT_ADVICE : "");
    put(this.find(".advice span"), advice);
    show(this.find(".advice"), Boolean(advice));
    this.level(source, judged);
    this.mute.update(source.mute);
    show(this.mute.element, keepsAlarms);
    this.source = source;
    this.facts();
  }

  // Opens or closes only when that changes: in between it is the reader's.
  openMore(open) {
    if (this.opened === open) return;
    this.opened = open;
    this.find(".more").open = open;
  }

  // Why it is in its state, and for how long.
  detail(source) {
    const since = source.state_seconds === null ? "" : `for ${duration(source.state_seconds)}`;
    const words = source.reason && since ? `${source.reason} (${since})` : source.reason || since;
    return words.charAt(0).toUpperCase() + words.slice(1);
  }

  level(source, judged) {
    const level = source.level_dbfs, usual = source.usual_level_dbfs;
    show(this.find(".level"), level !== null && (judged || source.state === "IDLE"));
    show(this.find(".level-bar"), usual !== null);
    if (level === null) return;
    const whole = (dbfs) => String(Math.round(dbfs)).replace("-", "−");
    if (usual === null) return put(this.find(".level-words"), `Level ${whole(level)} dB of a sine of one unit`);
    const [low, , high] = usual;
    const side = Math.round(level) < Math.round(low) ? ": quieter than usual" : Math.round(level) > Math.round(high) ? ": louder than usual" : "";
    put(this.find(".level-words"), `Level ${whole(level)} dBFS, usual ${whole(low)} to ${whole(high)}${side}`);
    const at = (dbfs) => Math.min(100, Math.max(0, 100 * (1 - dbfs / LOWEST_DBFS)));
    const range = this.find(".level-usual"), now = this.find(".level-now");
    range.style.left = `${at(low)}%`;
    range.style.width = `${Math.max(1, at(high) - at(low))}%`;
    now.style.left = `${at(level)}%`;
  }

  facts() {
    if (!this.find(".facts").open) return;
    const source = this.source;
    const counts = source.counts, drift = source.drift;
    const facts = [
      ["Threshold", `${figure(source.threshold)}${source.threshold_why ? `: ${source.threshold_why}` : ""}`],
      ["Score now", `${figure(source.smoothed_score)} smoothed, ${figure(source.score)} of the newest window; usual ${figure(source.usual_score)}`],
      ["Drift", !drift ? "known after 24 h of running" : drift.drifting ? `${drift.reasons.join("; ")}. Calibrate on site: dasvdd-monitor calibrate` : `none over the last ${duration(drift.running_seconds)} of running${drift.spectrum_compared ? "" : "; the spectrum is not compared, nothing is known of the usual one"}`],
      ["Judged", `${duration(counts.running_seconds)} since the start, ${counts.episodes} ${counts.episodes === 1 ? "alarm" : "alarms"}`],
      ["Lost", `${duration(counts.lost_seconds)} never arrived, ${duration(counts.dropped_seconds)} were dropped`],
      ["Model", `${source.model}, ${source.model_fingerprint.slice(0, 12)}`],
    ];
    if (source.site_not_used) facts.splice(1, 0, ["On site", `a calibration is there and not used: ${source.site_not_used}`]);
    const list = this.find("dl");
    if (list.children.length !== 2 * facts.length) {
      list.replaceChildren(...facts.flatMap(() => [document.createElement("dt"), document.createElement("dd")]));
    }
    facts.forEach(([term, words], i) => {
      put(list.children[2 * i], term);
      put(list.children[2 * i + 1], words);
    });
  }

  soundWords(curve, range) {
    if (!curve.edges.length) return;
    const edges = curve.edges, now = curve.heard[curve.heard.length - 1];
    const span = `${hertz(edges[0])} (bottom) to ${hertz(edges[edges.length - 1])} (top)`;
    const whole = (level) => String(Math.round(level)).replace("-", "\u2212");
    const colour = range ? `; ${whole(range[0])} dB (faint) to ${whole(range[1])} dB (strong)` : "";
    put(this.find(".sound-caption"), `What it hears, by third octave, ${span}${colour}`);
    const loudest = now ? now.indexOf(Math.max(...now)) : -1;
    this.find(".sound").setAttribute("aria-label", loudest < 0
      ? "Spectrogram. Nothing is heard now."
      : `Spectrogram. Loudest now: ${hertz(edges[loudest])} to ${hertz(edges[loudest + 1])} at ${whole(decibels(now[loudest]))} dB.`);
  }

  draw(curves, curve, keep, colours) {
    const log = drawScore(this.find(".score"), curves.steps, curve, keep, colours);
    const blank = curve.ratio.includes(null) ? "; grey: not judged" : "";
    put(this.find(".span-begins"), `${keep / 60} min ago`);
    put(this.find(".span-middle"), String(keep / 120));
    put(this.find(".score-caption"), `Score against the threshold${log ? ", logarithmic" : ""}${blank}`);
    const [low, high] = curve.span;
    show(this.find(".strip-figure"), Boolean(low));
    if (low) drawStrip(this.find(".strip"), curves.steps, curve, keep, colours);
    show(this.find(".sound-figure"), curve.edges.length > 0);
    const usual = this.source.usual_level_dbfs?.[1] ?? -Infinity;
    const range = curve.edges.length ? drawHeard(this.find(".sound"), curves.steps, curve, keep, colours, usual) : null;
    this.drawn += 1;
    if (this.drawn % WORDS_EVERY !== 1 && this.find(".strip").hasAttribute("aria-label") === Boolean(low)) return;
    this.find(".score").setAttribute("aria-label", inWords(curves.steps, curve, Math.round(keep / 60)));
    this.soundWords(curve, range);
    if (!low) return;
    const bands = this.source.bands.filter((band) => band.ratio >= NOTABLE).map((band) => `${band.name} (${times(band.ratio)})`);
    const judged = curve.ratio[curve.ratio.length - 1] !== null;
    const most = !judged ? "" : bands.length ? ` Most above normal now: ${bands.join(", ")}.` : " No band stands out now.";
    const between = low === high ? low : `${low} (bottom) to ${high} (top)`;
    put(this.find(".strip-caption"), `Residual by band, ${between}; stronger: further above normal.${most}`);
    this.find(".strip").setAttribute("aria-label", `How far each band lies above normal, over the same time.${most}`);
  }
}
