/** A prompt's box as evidence that the object does not extend beyond it, by the library's rule (enclosure.py). */

/** @typedef {import("./types.js").Hw} Hw */
/** @typedef {import("./types.js").Enclosure} Enclosure */

/**
 * The enclosure of a prompt, or null without a box or a penalty, or if a point says that the object goes on outside.
 * @param {import("./types.js").Prompt} prompt
 * @param {number} penalty  subtracted from logits outside the box
 * @returns {Enclosure | null}
 */
export function enclosureOf({ box, points, labels }, penalty) {
  if (!box || !(penalty > 0)) return null;
  const [x0, y0, x1, y1] = box;
  const goesOn = points.some(([x, y], i) => labels[i] === 1 && (x < x0 || x > x1 || y < y0 || y > y1));
  return goesOn ? null : { box, penalty };
}

/**
 * Lower the logits of all pixels whose centre lies outside the box, in place.
 * @param {Float32Array} logits  of the whole photo at any size
 * @param {Hw} hw  that size
 * @param {Hw} photoHw
 * @param {Enclosure | null} enclosure
 */
export function lowerOutside(logits, [h, w], photoHw, enclosure) {
  if (!enclosure) return logits;
  const [x0, x1] = inner(enclosure.box[0], enclosure.box[2], w / photoHw[1], w);
  const [y0, y1] = inner(enclosure.box[1], enclosure.box[3], h / photoHw[0], h);
  for (let y = 0; y < h; y++) {
    const isBeside = y < y0 || y >= y1;
    for (let x = 0; x < w; x++) if (isBeside || x < x0 || x >= x1) logits[y * w + x] -= enclosure.penalty;
  }
  return logits;
}

/**
 * First and last (exclusive) of a number of pixels whose centres lie between two coordinates times a scale.
 * @param {number} start
 * @param {number} end
 * @param {number} scale
 * @param {number} length
 */
function inner(start, end, scale, length) {
  const first = Math.min(Math.max(Math.ceil(start * scale - 0.5), 0), length);
  return [first, Math.min(Math.max(Math.floor(end * scale - 0.5) + 1, first), length)];
}
