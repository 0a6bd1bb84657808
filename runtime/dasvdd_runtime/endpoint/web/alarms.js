// One entry an alarm, and one for the alarms of a source that nobody has answered, where there are several.

import { NOTABLE, cardId, clockTime, copy, dayTime, duration, onSubmit, put, putPills, show } from "./cards.js";
import { times } from "./charts.js";
import { Evidence } from "./evidence.js";

const CLIP_SECONDS = 120; // after its end an alarm has its evidence, or none
const OFTEN = 3; // so many alarms within such a time are told with what keeps them apart
const OFTEN_SECONDS = 600;
const AGAIN_AND_AGAIN = "It rises again and again. If the machine starts and stops so often, [source.running] in monitor.toml leaves its stops out, and [alarm] cooldown_seconds makes one alarm of many.";
const VERDICTS = { real: "a real fault", false: "a false alarm", unknown: "not known" };

// How far the source of an alarm that goes on is beyond the threshold now, and which bands carry that.
function now(source) {
  if (!source || source.smoothed_score === null) return "";
  const bands = source.bands.filter((band) => band.ratio >= NOTABLE).map((band) => `${band.name} (${times(band.ratio)} the usual)`);
  const carried = bands.length ? `, carried by ${bands.join(", ")}` : "";
  return `now ${times(source.smoothed_score / source.threshold)} the threshold${carried}`;
}

export class AlarmEntry {
  constructor(alarm, act, request) {
    this.element = copy("alarm-template");
    this.find = (selector) => this.element.querySelector(selector);
    this.find(".answer").append(copy("answer-template"));
    this.evidence = new Evidence(alarm.id, this.find(".evidence"), request);
    put(this.find("h3"), alarm.source);
    this.find(".to-card").href = `#${encodeURIComponent(cardId(alarm.source))}`;
    onSubmit(this.find("form"), this.find(".said"), (data) => act(
      "acknowledge", { alarm: alarm.id, verdict: data.get("verdict"), note: data.get("note") },
    ));
    this.find("fieldset").addEventListener("change", (event) => this.chosen(event.target.value));
  }

  remove() {
    this.evidence.clear();
    this.element.remove();
  }

  // The note belongs to the verdict under which it was given.
  chosen(verdict) {
    const note = this.find("input[name=note]");
    if (verdict !== this.verdict && note.value === this.note) note.value = "";
    else if (verdict === this.verdict && note.value === "") note.value = this.note;
  }

  // `source`: as it is now, undefined where it is there no more; `grouped`: it stands with others of its source.
  update(alarm, time, source, grouped) {
    this.evidence.offer(alarm.has_evidence);
    const active = alarm.state === "active", keeps = source?.keeps;
    const late = time > alarm.raised_at + (alarm.lasted_seconds ?? 0) + CLIP_SECONDS;
    show(this.find(".no-evidence"), !alarm.has_evidence && !active && late && keeps !== undefined && keeps !== "nothing");
    const state = { active: "Ongoing", latched: "Waits for an answer", cleared: "Over", ended: "Broken off" };
    const pills = [[active ? "alarm" : alarm.state === "latched" ? "warning" : "quiet", state[alarm.state]]];
    if (alarm.muted) pills.push(["muted", "Raised while muted"]);
    putPills(this.find(".pills"), pills);
    const since = dayTime(alarm.raised_at);
    const lasted = alarm.lasted_seconds === null ? "" : `, for ${duration(alarm.lasted_seconds)}`;
    const words = active
      ? `Since ${since}, for ${duration(Math.max(0, time - alarm.raised_at))} so far; ${now(source) || `${times(alarm.peak_ratio)} the threshold`}`
      : `${since}${lasted}, up to ${times(alarm.peak_ratio)} the threshold`;
    const cut = alarm.state === "ended" ? ". It lasted when the monitor stopped or was given another configuration" : "";
    put(this.find(".when"), `${words}${alarm.recording ? `, in ${alarm.recording.split("/").pop()}` : ""}${cut}`);
    const shown = JSON.stringify([alarm.verdict, alarm.note, grouped]);
    if (this.shown === shown) return;
    this.shown = shown;
    [this.verdict, this.note] = [alarm.verdict, alarm.note];
    put(this.find(".answer-words"), alarm.verdict ? `It was ${VERDICTS[alarm.verdict]}${alarm.note ? `: ${alarm.note}` : "."}` : "");
    put(this.find(".answer > summary"), grouped ? "Answer this one alone" : "Change the answer");
    show(this.find(".answer > summary"), grouped || alarm.verdict !== null);
    show(this.find(".to-card"), !grouped && alarm.verdict === null);
    this.find(".answer").open = !grouped && alarm.verdict === null;
    if (alarm.verdict) this.find(`input[value="${alarm.verdict}"]`).checked = true;
    this.find("input[name=note]").value = alarm.note;
  }
}

export class AlarmGroup {
  constructor(source, act) {
    this.element = copy("group-template");
    this.find = (selector) => this.element.querySelector(selector);
    this.find(".answer").append(copy("answer-template"));
    this.list = this.find("ul");
    put(this.find("h3"), source);
    this.find(".to-card").href = `#${encodeURIComponent(cardId(source))}`;
    onSubmit(this.find("form"), this.find(".said"), (data) => act(
      "acknowledge", { alarm: this.newest, with_earlier: true, verdict: data.get("verdict"), note: data.get("note") },
    ));
  }

  // `alarms`: of its source that nobody has answered, newest first; `number`: how many there are, shown or not.
  update(alarms, number, time, source) {
    this.newest = alarms[0].id;
    const active = alarms.some((alarm) => alarm.state === "active"), waits = alarms.some((alarm) => alarm.state === "latched");
    putPills(this.find(".pills"), [active ? ["alarm", "Ongoing"] : waits ? ["warning", "Wait for an answer"] : ["quiet", "Over"]]);
    const raised = alarms.map((alarm) => alarm.raised_at), oldest = Math.min(...raised), newest = Math.max(...raised);
    const recent = time - oldest < 43200 ? clockTime : dayTime;
    const sofar = active && source?.smoothed_score ? source.smoothed_score / source.threshold : 0;
    const worst = Math.max(sofar, ...alarms.map((alarm) => alarm.peak_ratio));
    const many = number === alarms.length ? `${number} alarms` : `${number} alarms; the newest${alarms.length > 1 ? ` ${alarms.length}` : ""}`;
    const when = oldest === newest ? recent(newest) : `${recent(oldest)} to ${recent(newest)}`;
    const words = `${many}, ${when}, up to ${times(worst)} the threshold`;
    put(this.find(".when"), active && now(source) ? `${words}; ${now(source)}` : words);
    put(this.find(".often"), raised.some((at, i) => i >= OFTEN - 1 && raised[i - OFTEN + 1] - at <= OFTEN_SECONDS) ? AGAIN_AND_AGAIN : "");
    put(this.find("summary"), `Answer all ${number}`);
    put(this.find(".each > summary"), number === alarms.length ? "Each of them" : "The newest of them");
    put(this.find("legend"), "What were they?");
  }
}
