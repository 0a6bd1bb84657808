// What is drawn of a clip, and what is read from it. Time runs over the clip, from its left edge to its right.

import { prepared } from "./charts.js";
import { drawGrid, hertz, rangeOf, shadeOf } from "./heat.js";

// The second of the clip that is `time` of the stream; what lies in a gap is where the gap is.
export function inClip(sidecar, time) {
  let found = 0;
  for (const piece of sidecar.pieces) {
    if (time >= piece.stream_seconds) found = piece.clip_seconds + Math.min(time - piece.stream_seconds, piece.seconds);
  }
  return found;
}

// Levels [steps][bands], of all channels the loudest; null where nothing is known.
function loudest(spectrogram) {
  const [first, ...others] = spectrogram.levels_db;
  return (first ?? []).map((bands, step) => bands.map((level, band) => {
    const levels = [level, ...others.map((channel) => channel[step][band])].filter((one) => one !== null);
    return levels.length ? Math.max(...levels) : null;
  }));
}

// By how much each band is louder in the alarm than before it, most first; null where one of them is not in the clip.
export function louder(spectrogram, sidecar) {
  const levels = loudest(spectrogram);
  const step = (time) => inClip(sidecar, time) / spectrogram.step_seconds;
  const begin = step(sidecar.alarm_start_seconds);
  const end = sidecar.alarm_end_seconds === null ? levels.length : Math.ceil(step(sidecar.alarm_end_seconds));
  const before = levels.slice(0, Math.floor(begin)), during = levels.slice(Math.ceil(begin), Math.max(end, Math.ceil(begin) + 1));
  const mean = (part, band) => {
    const known = part.map((bands) => bands[band]).filter((level) => level !== null);
    return known.length ? known.reduce((sum, level) => sum + 10 ** (level / 10), 0) / known.length : null;
  };
  if (!before.length || !during.length) return null;
  return spectrogram.edges_hz.slice(0, -1)
    .map((edge, band) => {
      const [quiet, loud] = [mean(before, band), mean(during, band)];
      const db = quiet === null || loud === null ? -Infinity : 10 * Math.log10(loud / quiet);
      return { name: `${hertz(edge)} to ${hertz(spectrogram.edges_hz[band + 1])}`, db };
    })
    .sort((a, b) => b.db - a.db);
}

export function drawSpectrogram(canvas, spectrogram, seconds, colours) {
  const levels = loudest(spectrogram);
  const range = rangeOf(levels, null);
  const width = (canvas.clientWidth * levels.length * spectrogram.step_seconds) / seconds;
  drawGrid(canvas, levels.length, range ? levels[0].length : 0, colours.sound, (step, band) => {
    const level = levels[step][band];
    return level === null ? -1 : shadeOf(level, range);
  }, width);
}

// The lowest and highest value of each step.
export function drawLine(canvas, line, colours) {
  const context = prepared(canvas);
  const values = [...line.low, ...line.high].filter((value) => value !== null);
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const y = (value) => 3 + (canvas.clientHeight - 6) * (1 - (value - low) / span);
  context.fillStyle = colours.line;
  const width = canvas.clientWidth / line.low.length;
  line.low.forEach((value, step) => {
    if (value === null) return;
    const top = y(line.high[step]);
    context.fillRect(step * width, top - 0.8, Math.max(width, 1), y(value) - top + 1.6);
  });
}

// An upright line where the alarm begins. `begin`: from 0, the left edge, to 1.
export function markBeginning(canvas, begin, colours, words) {
  const context = canvas.getContext("2d");
  const x = Math.round(Math.min(begin * canvas.clientWidth, canvas.clientWidth - 2)) + 0.5;
  context.strokeStyle = colours.bad;
  context.lineWidth = 1.5;
  context.setLineDash([2, 3]);
  context.beginPath();
  context.moveTo(x, 0);
  context.lineTo(x, canvas.clientHeight);
  context.stroke();
  context.setLineDash([]);
  if (!words) return;
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "bottom";
  const right = x + 90 < canvas.clientWidth;
  context.textAlign = right ? "left" : "right";
  context.strokeStyle = colours.card;
  context.lineWidth = 3;
  context.strokeText(words, x + (right ? 4 : -4), canvas.clientHeight - 3);
  context.fillStyle = colours.bad;
  context.fillText(words, x + (right ? 4 : -4), canvas.clientHeight - 3);
  context.textAlign = "left";
}
