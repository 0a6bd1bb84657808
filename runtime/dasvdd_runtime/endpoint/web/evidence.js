// The evidence of one alarm: fetched when it is opened, forgotten when it is closed.

import { drawScore, times } from "./charts.js";
import { readColours } from "./colours.js";
import { drawLine, drawSpectrogram, inClip, louder, markBeginning } from "./evidence_charts.js";
import { hertz } from "./heat.js";

const PATIENCE_SECONDS = 60;
const NOTABLE_RATIO = 3; // of a band's residual
const NOTABLE_DB = 3;
const MOST_NAMED = 3;

const copy = () => document.getElementById("evidence-template").content.firstElementChild.cloneNode(true);

function seconds(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(0)} s`;
}

const short = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

export class Evidence {
  constructor(alarm, place, request) {
    this.path = `evidence/${encodeURIComponent(alarm)}`;
    this.place = place;
    this.place.dataset.alarm = alarm;
    this.request = request;
    this.urls = [];
  }

  // Shows that there is something to open. What is open stays, though it be removed from the disk meanwhile.
  offer(there) {
    if (there && !this.details) this.make();
    this.place.hidden = !(there || this.details?.open);
  }

  make() {
    this.details = copy();
    this.find = (selector) => this.details.querySelector(selector);
    this.details.addEventListener("toggle", () => (this.details.open ? this.load() : this.clear()));
    this.place.append(this.details);
  }

  // Lets go of everything that was fetched.
  clear() {
    this.aborted?.abort();
    for (const url of this.urls) URL.revokeObjectURL(url);
    this.urls = [];
    this.shown = null;
    if (!this.details) return;
    this.find("audio")?.removeAttribute("src");
    this.find("audio")?.load();
    for (const selector of [".player", ".downloads", ".lines"]) this.find(selector).replaceChildren();
    for (const canvas of this.details.querySelectorAll("canvas")) canvas.width = 0;
    this.find(".evidence-shown").hidden = true;
    put(this.find(".evidence-said"), "");
  }

  async load() {
    this.clear();
    const aborted = new AbortController();
    this.aborted = aborted;
    const fetched = (part) => this.request(`${this.path}${part}`, { signal: aborted.signal, seconds: PATIENCE_SECONDS });
    put(this.find(".evidence-said"), "Fetching…");
    try {
      const description = await (await fetched("")).blob();
      const sidecar = JSON.parse(await description.text());
      this.show(sidecar, sidecar.file === null ? { spectrogram: sidecar.spectrogram } : {});
      this.offerFile(description, `${this.stem(sidecar)}.json`, "Download the description");
      if (sidecar.file !== null) await this.loadSamples(sidecar, fetched);
      if (!aborted.signal.aborted) put(this.find(".evidence-said"), "");
    } catch (error) {
      if (!aborted.signal.aborted) put(this.find(".evidence-said"), this.reason(error));
    }
  }

  async loadSamples(sidecar, fetched) {
    const isAudio = sidecar.file.endsWith(".flac");
    const picture = fetched("/picture").then((answer) => answer.json(), (error) => ({ why: this.reason(error) }));
    const blob = await (await fetched(isAudio ? "/audio" : "/samples")).blob();
    const drawn = await picture;
    if (this.aborted.signal.aborted) return;
    const url = this.offerFile(blob, sidecar.file, isAudio ? "Download the sound" : "Download the samples");
    if (isAudio) this.play(url, sidecar);
    this.show(sidecar, drawn);
  }

  reason(error) {
    return error.name === "Error" ? error.message : "The monitor did not answer. Close this and open it again.";
  }

  stem(sidecar) {
    const when = sidecar.raised_at.slice(0, 19).replace(/[-:]/g, "");
    return `${sidecar.source}-${when}Z-${sidecar.alarm}`;
  }

  offerFile(blob, name, words) {
    if (this.aborted.signal.aborted) return "";
    const url = URL.createObjectURL(blob);
    this.urls.push(url);
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.textContent = `${words} (${Math.max(1, Math.round(blob.size / 1000))} kB)`;
    this.find(".downloads").prepend(link);
    return url;
  }

  play(url, sidecar) {
    const audio = document.createElement("audio");
    audio.controls = true;
    audio.preload = "metadata";
    audio.src = url;
    audio.setAttribute("aria-label", `What ${sidecar.source} sounded like`);
    const heads = this.details.querySelectorAll(".playhead");
    audio.addEventListener("timeupdate", () => {
      for (const head of heads) {
        head.hidden = audio.currentTime === 0;
        head.style.left = `${(100 * audio.currentTime) / (audio.duration || 1)}%`;
      }
    });
    audio.addEventListener("error", () => {
      if (audio.hasAttribute("src")) put(this.find(".evidence-said"), "This browser cannot play it: download it.");
    });
    this.find(".player").replaceChildren(audio);
  }

  show(sidecar, picture) {
    if (this.aborted.signal.aborted) return;
    this.shown = { sidecar, picture };
    this.find(".evidence-shown").hidden = false;
    for (const head of this.details.querySelectorAll(".playhead")) head.hidden = true;
    const place = this.find(".lines");
    const lines = picture.lines ?? [];
    place.replaceChildren(...lines.map((line) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.className = "line";
      canvas.setAttribute("role", "img");
      const caption = document.createElement("figcaption");
      caption.className = "caption";
      const known = (values) => values.filter((value) => value !== null);
      const [low, high] = [Math.min(...known(line.low)), Math.max(...known(line.high))];
      put(caption, known(line.low).length ? `${line.name}: ${short(low)} to ${short(high)}` : `${line.name}: no value`);
      canvas.setAttribute("aria-label", `${caption.textContent} over the clip`);
      figure.append(canvas, caption);
      return figure;
    }));
    this.words();
    this.draw();
  }

  words() {
    const { sidecar, picture } = this.shown;
    const begin = inClip(sidecar, sidecar.alarm_start_seconds);
    put(this.find(".begins"), seconds(-begin));
    put(this.find(".ends"), seconds(sidecar.seconds - begin));
    const scores = sidecar.scores.smoothed_score.filter((score) => score !== null);
    const peak = scores.length ? `up to ${times(Math.max(...scores) / sidecar.threshold)} the threshold` : "not known";
    const tail = sidecar.tail_seconds > 0 ? ` The alarm lasted ${sidecar.tail_seconds.toFixed(0)} s longer than what was kept.` : "";
    const before = `${begin.toFixed(0)}\u00a0s before the alarm to ${(sidecar.seconds - begin).toFixed(0)}\u00a0s after its beginning`;
    put(this.find(".score-caption"), `Score against the threshold, ${before}.${tail}`);
    this.find(".score").setAttribute("aria-label", `Score from ${before}: ${peak}.`);

    const { names, peak: residual, usual } = sidecar.residual;
    const most = names.map((name, i) => [name, usual[i] > 0 ? residual[i] / usual[i] : 0])
      .filter(([, ratio]) => ratio >= NOTABLE_RATIO).sort((a, b) => b[1] - a[1]).slice(0, MOST_NAMED);
    put(this.find(".stands-out"), most.length
      ? `Most above normal at the peak: ${most.map(([name, ratio]) => `${name} (${times(ratio)})`).join(", ")}.`
      : "No band stood out at the peak.");

    const heard = picture.spectrogram;
    this.find(".heard").hidden = !heard && !picture.why;
    this.find(".spectrogram").hidden = !heard;
    if (!heard) return put(this.find(".heard-caption"), picture.why ?? "");
    const bands = louder(heard, sidecar);
    const named = bands?.filter((band) => band.db >= NOTABLE_DB).slice(0, MOST_NAMED).map((band) => `${band.name} by ${band.db.toFixed(0)} dB`);
    const change = !bands ? "" : named.length ? ` Louder than before the alarm: ${named.join(", ")}.` : " No band became louder with the alarm.";
    const edges = heard.edges_hz;
    const span = `${hertz(edges[0])} (bottom) to ${hertz(edges[edges.length - 1])} (top)`;
    put(this.find(".heard-caption"), `Level by third octave, ${span}; stronger: louder.${change}`);
    this.find(".spectrogram").setAttribute("aria-label", `Spectrogram over the same time.${change}`);
  }

  draw() {
    if (!this.shown || !this.details.open) return;
    const { sidecar, picture } = this.shown;
    const colours = readColours();
    const steps = sidecar.scores.stream_seconds.map((time) => inClip(sidecar, time));
    const ends = sidecar.clear_seconds ?? Infinity;
    const curve = {
      ratio: sidecar.scores.smoothed_score.map((score) => (score === null ? null : score / sidecar.threshold)),
      alarm: sidecar.scores.stream_seconds.map((time) => time >= sidecar.rise_seconds && time < ends),
    };
    const begin = inClip(sidecar, sidecar.alarm_start_seconds) / sidecar.seconds;
    const score = this.find(".score");
    if (steps.length) drawScore(score, steps, curve, sidecar.seconds, colours, { newest: sidecar.seconds, mostGap: Infinity });
    markBeginning(score, begin, colours, "alarm begins");
    if (picture.spectrogram) {
      drawSpectrogram(this.find(".spectrogram"), picture.spectrogram, sidecar.seconds, colours);
      markBeginning(this.find(".spectrogram"), begin, colours, "");
    }
    (picture.lines ?? []).forEach((line, i) => {
      const canvas = this.find(".lines").children[i].firstElementChild;
      drawLine(canvas, line, colours);
      markBeginning(canvas, begin, colours, "");
    });
  }
}
