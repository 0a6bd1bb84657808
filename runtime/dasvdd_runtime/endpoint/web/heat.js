// Pictures of bands over time: a column a step, a row a band, the lowest at the bottom.

import { MOST_GAP, prepared } from "./charts.js";

const ODD_LEVELS = 8; // letters of a band's residual
const ODD_SHADES = Array.from({ length: ODD_LEVELS + 1 }, (_, level) => Math.round(255 * (level / ODD_LEVELS) ** 1.5));
const LOWEST_DB = -120, UNKNOWN = 0; // bytes of what is heard, see /api/history
const LEAST_SPAN_DB = 30; // of the colours: steady noise is no picture of its own

const grids = new Map(); // an image for each size, painted again and again

function gridOf(columns, rows) {
  const key = `${columns} ${rows}`;
  if (!grids.has(key)) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [columns, rows];
    const image = new ImageData(columns, rows);
    grids.set(key, { canvas, image, pixels: new Uint32Array(image.data.buffer) });
  }
  return grids.get(key);
}

// `ramp`: 256 colours. `shade(column, row)`: one of them, or -1 where nothing is known.
export function drawGrid(canvas, columns, rows, ramp, shade, width = canvas.clientWidth) {
  const context = prepared(canvas);
  if (!columns || !rows || !canvas.clientWidth) return; // nothing to show, or folded away
  const { canvas: small, image, pixels } = gridOf(columns, rows);
  for (let row = 0; row < rows; row += 1) {
    const begin = (rows - 1 - row) * columns;
    for (let column = 0; column < columns; column += 1) {
      const at = shade(column, row);
      pixels[begin + column] = at < 0 ? 0 : ramp[at];
    }
  }
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width, canvas.clientHeight);
}

// 256 colours from the first of `stops`, [r, g, b], to the last, as the pixels of an image hold them.
export function rampOf(stops) {
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let at = 0; at < 256; at += 1) {
    const place = (at / 255) * (stops.length - 1);
    const below = Math.min(Math.floor(place), stops.length - 2);
    const [from, to] = [stops[below], stops[below + 1]];
    bytes.set([0, 1, 2].map((part) => from[part] + (place - below) * (to[part] - from[part])), 4 * at);
    bytes[4 * at + 3] = 255;
  }
  return new Uint32Array(bytes.buffer);
}

// The shade of `value` in the range from `low` to `high`.
export const shadeOf = (value, [low, high]) => Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));

// What each column of the last `keep` steps shows: the point's place in `steps`, or undefined. A few steps that a busy
// box left out show what was before them.
function columnsOf(steps, keep) {
  const columns = Array(keep);
  const newest = steps[steps.length - 1];
  steps.forEach((step, i) => {
    const last = keep - 1 - (newest - step);
    const first = i > 0 && step - steps[i - 1] <= MOST_GAP ? keep - (newest - steps[i - 1]) : last;
    if (last < 0) return;
    columns.fill(i - 1, Math.max(0, first), last);
    columns[last] = i;
  });
  return columns;
}

// How far each band lies above what is usual for it.
export function drawStrip(canvas, steps, curve, keep, colours) {
  const rows = Math.max(...curve.bands.map((letters) => letters.length));
  const columns = columnsOf(steps, keep);
  drawGrid(canvas, keep, rows, colours.odd, (column, row) => {
    const letters = curve.bands[columns[column]];
    return letters?.length === rows ? ODD_SHADES[letters.charCodeAt(row) - 97] : -1;
  });
}

// What is heard; nothing of it is drawn full that is quieter than `usual`, a level in dB. Gives the levels that the
// faintest and the strongest colour stand for; null where nothing was heard.
export function drawHeard(canvas, steps, curve, keep, colours, usual) {
  if (!canvas.clientWidth) return null; // folded away
  const columns = columnsOf(steps, keep);
  const range = rangeOf(columns.map((i) => curve.heard[i]), UNKNOWN);
  if (range) range[1] = Math.max(range[1], usual + 1 - LOWEST_DB);
  drawGrid(canvas, keep, range ? curve.edges.length - 1 : 0, colours.sound, (column, row) => {
    const byte = curve.heard[columns[column]]?.[row] ?? UNKNOWN;
    return byte === UNKNOWN ? -1 : shadeOf(byte, range);
  });
  return range?.map(decibels) ?? null;
}

export const decibels = (byte) => byte - 1 + LOWEST_DB;

// Lowest and highest of the values in `columns` that are not `unknown`, at least LEAST_SPAN_DB apart.
export function rangeOf(columns, unknown) {
  let low = Infinity, high = -Infinity;
  for (const values of columns) {
    for (const value of values ?? []) {
      if (value === unknown) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return high === -Infinity ? null : [Math.min(low, high - LEAST_SPAN_DB), high];
}

export function hertz(edge) {
  return edge >= 1000 ? `${Number((edge / 1000).toPrecision(2))} kHz` : `${Number(edge.toPrecision(2))} Hz`;
}
