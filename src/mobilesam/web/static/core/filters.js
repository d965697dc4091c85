/** Filters of "everything": stability, and non-maximum suppression of overlapping boxes. */

/** @typedef {import("./types.js").Box} Box */

/**
 * IoU of the masks at thresholds above and below 0: 0-1.
 * @param {Float32Array} logits
 * @param {number} offset
 */
export function stability(logits, offset) {
  let [low, high] = [0, 0];
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] > -offset) low++;
    if (logits[i] > offset) high++;
  }
  return low ? high / low : 0;
}

/**
 * Indices of the boxes that are kept, highest score first; boxes count as inclusive, as in Segment Anything.
 * @param {Box[]} boxes
 * @param {number[]} scores
 * @param {number} threshold  a box is dropped if its IoU with a kept one exceeds this
 */
export function suppress(boxes, scores, threshold) {
  const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b);
  /** @type {number[]} */
  const kept = [];
  for (const i of order) if (!kept.some((k) => overlap(boxes[k], boxes[i]) > threshold)) kept.push(i);
  return kept;
}

/**
 * @param {Box} a
 * @param {Box} b
 */
function overlap(a, b) {
  const width = Math.max(0, Math.min(a[2], b[2]) - 1 - Math.max(a[0], b[0]));
  const height = Math.max(0, Math.min(a[3], b[3]) - 1 - Math.max(a[1], b[1]));
  const area = (/** @type {Box} */ box) => Math.max(0, box[2] - 1 - box[0]) * Math.max(0, box[3] - 1 - box[1]);
  const union = area(a) + area(b) - width * height;
  return union > 0 ? (width * height) / union : 0;
}
