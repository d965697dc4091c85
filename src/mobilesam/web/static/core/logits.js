/** From the decoder's logits to masks at any size: the three steps of Segment Anything, as the library does them. */

import { lowerOutside } from "./enclosure.js";

/** @typedef {import("./types.js").Hw} Hw */
/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Bits} Bits */

const OUTSIDE = -10; // a logit of clear background
const BLEND_SHARE = 1 / 12; // of a region's shorter side, over which its logits fade into those of the photo

/**
 * Resize one plane bilinearly, pixel centres on pixel centres, edges repeated.
 * @param {Float32Array} plane  rows of `stride` values
 * @param {number} stride
 * @param {Hw} from  the part of it that is read
 * @param {Hw} to
 * @param {Hw} [kept]  rows and columns of the result that are wanted; all by default
 */
export function bilinear(plane, stride, [fromH, fromW], [toH, toW], [keptH, keptW] = [toH, toW]) {
  const columns = places(fromW, toW, keptW);
  const rows = places(fromH, toH, keptH);
  const wide = new Float32Array(fromH * keptW);
  for (let y = 0; y < fromH; y++) {
    const line = y * stride;
    for (let x = 0; x < keptW; x++) {
      const left = plane[line + columns.first[x]];
      wide[y * keptW + x] = left + (plane[line + columns.second[x]] - left) * columns.share[x];
    }
  }
  const out = new Float32Array(keptH * keptW);
  for (let y = 0; y < keptH; y++) {
    const above = rows.first[y] * keptW;
    const below = rows.second[y] * keptW;
    const share = rows.share[y];
    const to = y * keptW;
    for (let x = 0; x < keptW; x++) {
      const value = wide[above + x];
      out[to + x] = value + (wide[below + x] - value) * share;
    }
  }
  return out;
}

/**
 * Where each target pixel lies between two source pixels.
 * @param {number} from
 * @param {number} to
 * @param {number} kept
 */
function places(from, to, kept) {
  const first = new Int32Array(kept);
  const second = new Int32Array(kept);
  const share = new Float32Array(kept);
  for (let i = 0; i < kept; i++) {
    const at = ((i + 0.5) * from) / to - 0.5;
    const low = Math.floor(at);
    first[i] = Math.min(Math.max(low, 0), from - 1);
    second[i] = Math.min(Math.max(low + 1, 0), from - 1);
    share[i] = at - low;
  }
  return { first, second, share };
}

/**
 * Logits (L, L) of a padded square, resized to a size that stands for the whole photo.
 * @param {Float32Array} lowRes
 * @param {number} side  of the square
 * @param {Hw} inputHw  the part of it that the photo covers
 * @param {Hw} hw
 */
export function upscale(lowRes, side, inputHw, hw) {
  const length = Math.sqrt(lowRes.length);
  const factor = side / length;
  const rows = Math.min(length, Math.ceil(inputHw[0] / factor) + 1);
  const columns = Math.min(length, Math.ceil(inputHw[1] / factor) + 1);
  const part = bilinear(lowRes, length, [rows, columns], [rows * factor, columns * factor], inputHw);
  return bilinear(part, inputHw[1], inputHw, hw);
}

/**
 * One of an answer's masks as logits (L, L).
 * @param {{lowRes: Float32Array, side: number}} answer
 * @param {number} index
 */
export function plane(answer, index) {
  const size = (answer.side / 4) ** 2;
  return answer.lowRes.subarray(index * size, (index + 1) * size);
}

/**
 * Logits of one mask at the photo's size, with its second look if it had one.
 * @param {Answer} answer
 * @param {number} index
 */
export function photoLogits(answer, index) {
  return lowerOutside(wholeLogits(answer, index), answer.photoHw, answer.photoHw, answer.enclosure);
}

/**
 * The same before the box of the prompt is taken into account.
 * @param {Answer} answer
 * @param {number} index
 */
function wholeLogits(answer, index) {
  const { closeup, photoHw, side } = answer;
  const from = closeup ? closeup.from[index] : -1;
  if (!closeup || from < 0) return upscale(plane(answer, index), side, answer.inputHw, photoHw);
  const [x0, y0, x1, y1] = closeup.region;
  const inside = upscale(plane({ lowRes: closeup.lowRes, side }, from), side, closeup.inputHw, [y1 - y0, x1 - x0]);
  const width = photoHw[1];
  const whole = closeup.goesOn
    ? upscale(plane(answer, index), side, answer.inputHw, photoHw)
    : new Float32Array(photoHw[0] * width).fill(OUTSIDE);
  const margin = Math.max(1, Math.round(Math.min(x1 - x0, y1 - y0) * BLEND_SHARE));
  const across = ramp(x1 - x0, margin, x0 > 0, x1 < width);
  const down = ramp(y1 - y0, margin, y0 > 0, y1 < photoHw[0]);
  for (let y = 0; y < y1 - y0; y++) {
    for (let x = 0; x < x1 - x0; x++) {
      const to = (y + y0) * width + x + x0;
      const weight = closeup.goesOn ? Math.min(across[x], down[y]) : 1;
      whole[to] = weight * inside[y * (x1 - x0) + x] + (1 - weight) * whole[to];
    }
  }
  return whole;
}

/**
 * Weights along one side of a region: 1, with a linear ramp at ends that are not ends of the photo.
 * @param {number} length
 * @param {number} margin
 * @param {boolean} rises
 * @param {boolean} falls
 */
function ramp(length, margin, rises, falls) {
  return Float32Array.from({ length }, (_, i) =>
    Math.min(1, rises ? (i + 1) / (margin + 1) : 1, falls ? (length - i) / (margin + 1) : 1),
  );
}

/**
 * One mask at the photo's size.
 * @param {Answer} answer
 * @param {number} index
 * @returns {Bits}
 */
export function photoMask(answer, index) {
  const logits = photoLogits(answer, index);
  const data = new Uint8Array(logits.length);
  for (let i = 0; i < data.length; i++) data[i] = logits[i] > 0 ? 1 : 0;
  return { width: answer.photoHw[1], height: answer.photoHw[0], data };
}

/**
 * Tight box around the values above a threshold; all 0 where there are none.
 * @param {ArrayLike<number>} values
 * @param {Hw} hw
 * @returns {import("./types.js").Box}
 */
export function boxOf(values, [h, w]) {
  let x0 = w, y0 = h, x1 = 0, y1 = 0;
  for (let y = 0; y < h; y++) {
    const line = y * w;
    let first = 0;
    while (first < w && !(values[line + first] > 0)) first++;
    if (first === w) continue;
    let last = w - 1;
    while (!(values[line + last] > 0)) last--;
    x0 = Math.min(x0, first);
    x1 = Math.max(x1, last + 1);
    y0 = Math.min(y0, y);
    y1 = y + 1;
  }
  return x1 > x0 ? [x0, y0, x1, y1] : [0, 0, 0, 0];
}

/**
 * Index of the best of an answer's masks: of three for a single click, else the single one.
 * @param {Float32Array} scores
 * @param {boolean} isAmbiguous
 */
export function bestIndex(scores, isAmbiguous) {
  if (!isAmbiguous || scores.length < 4) return 0;
  let best = 1;
  for (let i = 2; i < 4; i++) if (scores[i] > scores[best]) best = i;
  return best;
}
