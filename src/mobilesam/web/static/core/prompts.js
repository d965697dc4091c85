/** A user's prompt as the decoder's inputs, by the rules of Segment Anything. */

/** @typedef {import("./types.js").Prompt} Prompt */
/** @typedef {import("./types.js").Hw} Hw */
/** @typedef {import("./types.js").Box} Box */

const LABELS = { padding: -1, topLeft: 2, bottomRight: 3 };

/**
 * Whether a prompt is a single click, for which there are three masks of different extent.
 * @param {Prompt} prompt
 * @param {boolean} hasPrior
 */
export function isAmbiguous(prompt, hasPrior) {
  return prompt.points.length === 1 && !prompt.box && !hasPrior;
}

/**
 * Coordinates and labels for the decoder: the points, then two box corners, or one row of padding without a box.
 * @param {Prompt} prompt
 * @param {[number, number]} origin  (x, y) of the region that was encoded, in the photo
 * @param {Hw} regionHw  its size
 * @param {Hw} inputHw  its size when resized
 * @returns {{coords: Float32Array, labels: Float32Array}}
 */
export function decoderInputs(prompt, [x0, y0], regionHw, inputHw) {
  const [toX, toY] = [inputHw[1] / regionHw[1], inputHw[0] / regionHw[0]];
  /** @type {number[]} */
  const coords = [];
  /** @type {number[]} */
  const labels = [];
  /** @type {(x: number, y: number, label: number) => void} */
  const add = (x, y, label) => {
    coords.push((x - x0) * toX, (y - y0) * toY);
    labels.push(label);
  };
  prompt.points.forEach(([x, y], i) => add(x, y, prompt.labels[i]));
  if (prompt.box) {
    add(prompt.box[0], prompt.box[1], LABELS.topLeft);
    add(prompt.box[2], prompt.box[3], LABELS.bottomRight);
  } else {
    coords.push(0, 0);
    labels.push(LABELS.padding);
  }
  return { coords: Float32Array.from(coords), labels: Float32Array.from(labels) };
}

/**
 * A box from two corners in any order, clipped to the photo; null if it covers nothing.
 * @param {[number, number]} a
 * @param {[number, number]} b
 * @param {Hw} hw
 * @returns {Box | null}
 */
export function boxFrom(a, b, [h, w]) {
  const clip = (/** @type {number} */ value, /** @type {number} */ most) => Math.min(Math.max(value, 0), most);
  const [x0, x1] = [clip(Math.min(a[0], b[0]), w), clip(Math.max(a[0], b[0]), w)];
  const [y0, y1] = [clip(Math.min(a[1], b[1]), h), clip(Math.max(a[1], b[1]), h)];
  return x1 > x0 && y1 > y0 ? [x0, y0, x1, y1] : null;
}
