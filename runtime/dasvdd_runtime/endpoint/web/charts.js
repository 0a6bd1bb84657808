// The curves of a source: its score through the threshold. Canvas, so that the page keeps its size however long it is
// open; `heat.js` draws its bands.
export const MOST_GAP = 5; // steps that are bridged
const SPANS = [120, 300]; // seconds that are drawn while there is no more
const LINEAR_UP_TO = 3; // times the threshold; beyond it the scale is logarithmic

// The bytes of a point; null where nothing was heard.
function heardBytes(text) {
  return text ? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)) : null;
}

// The points of all sources, at most `keep` of them.
export class Curves {
  constructor() {
    this.clear("");
  }

  clear(run) {
    this.run = run;
    this.steps = [];
    this.sources = new Map();
  }

  get newest() {
    return this.steps.length ? this.steps[this.steps.length - 1] : -1;
  }

  // How many seconds to draw: no more than are needed for what there is.
  shown(keep) {
    const length = this.newest - this.steps[0];
    return SPANS.find((seconds) => seconds >= length && seconds < keep) ?? keep;
  }

  // Appends what `answer`, of /api/history or /api/status, has beyond the newest point.
  add(answer) {
    if (answer.run !== this.run) this.clear(answer.run);
    const first = answer.steps.findIndex((step) => step > this.newest);
    const before = this.steps.length;
    if (first >= 0) this.steps.push(...answer.steps.slice(first));
    const sources = new Map();
    for (const [name, points] of Object.entries(answer.sources)) {
      const old = this.sources.get(name);
      const same = old && old.span.join() === points.span.join();
      const heardAlike = old && old.edges.join() === points.edges_hz.join();
      const curve = {
        span: points.span,
        ratio: old ? old.ratio : Array(before).fill(null),
        alarm: old ? old.alarm : Array(before).fill(false),
        bands: same ? old.bands : Array(before).fill(""),
        edges: points.edges_hz,
        heard: heardAlike ? old.heard : Array(before).fill(null),
      };
      if (first >= 0) {
        curve.ratio.push(...points.ratio.slice(first));
        curve.alarm.push(...[...points.alarm.slice(first)].map((digit) => digit === "1"));
        curve.bands.push(...points.bands.slice(first));
        curve.heard.push(...points.heard.slice(first).map(heardBytes));
      }
      sources.set(name, curve);
    }
    this.sources = sources;
    this.drop(answer.keep);
  }

  drop(keep) {
    const oldest = this.newest - keep;
    const count = this.steps.findIndex((step) => step > oldest);
    if (count <= 0) return;
    this.steps.splice(0, count);
    for (const { ratio, alarm, bands, heard } of this.sources.values()) {
      for (const list of [ratio, alarm, bands, heard]) list.splice(0, count);
    }
  }
}

export function prepared(canvas) {
  const density = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * density);
  const height = Math.round(canvas.clientHeight * density);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

function scaleFor(ratios, height) {
  const known = ratios.filter((ratio) => ratio !== null);
  const high = Math.max(1.25, ...known) * 1.08;
  const top = 6, bottom = height - 2;
  if (high <= LINEAR_UP_TO * 1.08) {
    return { log: false, ticks: high > 2 ? [1, 2, 3] : [1], y: (ratio) => bottom - (ratio / high) * (bottom - top) };
  }
  const positive = known.filter((ratio) => ratio > 0);
  const low = Math.max(Math.min(1, ...positive) * 0.8, high / 1e4);
  const ticks = [1];
  for (let tick = 10 ** Math.ceil(Math.log10(low)); tick < high; tick *= 10) if (tick !== 1) ticks.push(Number(tick.toPrecision(1)));
  const span = Math.log(high / low);
  return { log: true, ticks, y: (ratio) => bottom - (Math.log(Math.max(ratio, low) / low) / span) * (bottom - top) };
}

// Contiguous stretches of points that `wanted` accepts, as pairs of indices.
function stretches(steps, wanted, mostGap) {
  const found = [];
  let start = -1;
  for (let i = 0; i <= steps.length; i += 1) {
    const on = i < steps.length && wanted(i) && (start < 0 || steps[i] - steps[i - 1] <= mostGap);
    if (on && start < 0) start = i;
    if (!on && start >= 0) {
      found.push([start, i - 1]);
      start = i < steps.length && wanted(i) ? i : -1;
    }
  }
  return found;
}

// The last `keep` seconds up to `newest`; points further apart than `mostGap` are not joined.
export function drawScore(canvas, steps, curve, keep, colours, { newest = steps[steps.length - 1], mostGap = MOST_GAP } = {}) {
  const context = prepared(canvas);
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const x = (i) => width - ((newest - steps[i]) / keep) * width;
  const scale = scaleFor(curve.ratio, height);
  const shade = (wanted, colour) => {
    context.fillStyle = colour;
    for (const [a, b] of stretches(steps, wanted, mostGap)) context.fillRect(x(a) - 1, 0, x(b) - x(a) + 2, height);
  };
  shade((i) => curve.ratio[i] === null, colours.blank);
  shade((i) => curve.alarm[i], colours.alarm);

  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "bottom";
  context.lineWidth = 1;
  const labels = [];
  for (const tick of scale.ticks) {
    const y = Math.round(scale.y(tick)) + 0.5;
    if (y < 0 || y > height) continue;
    context.strokeStyle = tick === 1 ? colours.bad : colours.grid;
    context.setLineDash(tick === 1 ? [5, 3] : []);
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
    labels.push([tick === 1 ? "threshold" : `${tick} ×`, Math.max(y - 1, 12), tick === 1 ? colours.bad : colours.text]);
  }
  context.setLineDash([]);

  context.lineJoin = "round";
  context.lineWidth = 1.6;
  for (const [above, colour] of [[false, colours.line], [true, colours.bad]]) {
    const limit = scale.y(1);
    context.save();
    context.beginPath();
    context.rect(0, above ? 0 : limit, width, above ? limit : height - limit);
    context.clip();
    context.strokeStyle = colour;
    context.beginPath();
    for (const [a, b] of stretches(steps, (i) => curve.ratio[i] !== null, mostGap)) {
      context.moveTo(x(a), scale.y(curve.ratio[a]));
      for (let i = a; i <= b; i += 1) context.lineTo(x(i), scale.y(curve.ratio[i]));
      if (a === b) context.lineTo(x(a) + 1.5, scale.y(curve.ratio[a]));
    }
    context.stroke();
    context.restore();
  }
  for (const [words, y, colour] of labels) {
    context.strokeStyle = colours.card;
    context.lineWidth = 3;
    context.strokeText(words, 2, y);
    context.fillStyle = colour;
    context.fillText(words, 2, y);
  }
  return scale.log;
}

// The score curve in words, for those who do not see it.
export function inWords(steps, curve, keepMinutes) {
  const known = curve.ratio.filter((ratio) => ratio !== null);
  if (!known.length) return `Nothing was judged in the last ${keepMinutes} minutes.`;
  const high = Math.max(...known);
  const ago = steps[steps.length - 1] - steps[curve.ratio.indexOf(high)];
  const when = ago < 60 ? "within the last minute" : `${Math.round(ago / 60)} minutes ago`;
  return `Score over the last ${keepMinutes} minutes: highest ${times(high)} the threshold, ${when}; `
    + `now ${times(known[known.length - 1])}.`;
}

export function times(ratio) {
  return `${ratio.toFixed(ratio >= 9.95 ? 0 : ratio >= 0.995 ? 1 : 2)}\u00a0×`;
}
