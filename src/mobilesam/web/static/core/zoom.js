/** The second look: which region around a small object is encoded once more, by the library's rule. */

/** @typedef {import("./types.js").Box} Box */
/** @typedef {import("./types.js").Hw} Hw */

const REGION_FACTOR = 1.5; // longer side of the region divided by that of the box
const SMALLEST_REGION = 32; // pixels; smaller regions are only blurred by enlarging them

/**
 * The region to encode, or null where the first look is enough.
 * @param {Box} box  the prompt's box, or that of the best mask after clicks
 * @param {[number, number][]} points  the prompt's points, which the region will contain
 * @param {Hw} photoHw
 * @param {number} below  share of the photo's longer side from which on no second look is taken
 * @returns {Box | null}
 */
export function chooseRegion(box, points, [h, w], below) {
  const [width, height] = [box[2] - box[0], box[3] - box[1]];
  const longer = Math.max(width, height);
  if (Math.min(width, height) <= 0 || longer >= below * Math.max(h, w)) return null;
  const margin = ((REGION_FACTOR - 1) / 2) * longer;
  const [left, right] = span(box[0] - margin, box[2] + margin, points.map(([x]) => x), w);
  const [top, bottom] = span(box[1] - margin, box[3] + margin, points.map(([, y]) => y), h);
  return left === 0 && top === 0 && right === w && bottom === h ? null : [left, top, right, bottom];
}

/**
 * Extent of a region along one axis, in whole pixels.
 * @param {number} start
 * @param {number} end
 * @param {number[]} points
 * @param {number} length  of the photo
 * @returns {[number, number]}
 */
function span(start, end, points, length) {
  const wider = Math.max(0, SMALLEST_REGION - (end - start)) / 2;
  const pixels = points.map((at) => Math.min(Math.max(Math.floor(rounded(at)), 0), length - 1));
  const first = Math.max(0, Math.floor(rounded(start - wider)));
  const last = Math.min(length, Math.ceil(rounded(end + wider)));
  return [Math.min(first, ...pixels), Math.max(last, ...pixels.map((at) => at + 1))];
}

/**
 * A coordinate without errors of rounding: 60.000004 is 60, and must not reach into one pixel more.
 * @param {number} at
 */
const rounded = (at) => Math.round(at * 1000) / 1000;

/**
 * Index of the one of several masks that has the highest IoU with a mask.
 * @param {Float32Array[]} found  logits of the masks
 * @param {Uint8Array} mask
 */
export function mostLike(found, mask) {
  let [best, highest] = [0, -1];
  found.forEach((logits, index) => {
    let [both, either] = [0, 0];
    for (let i = 0; i < mask.length; i++) {
      const inside = logits[i] > 0;
      if (inside && mask[i]) both++;
      if (inside || mask[i]) either++;
    }
    const likeness = both / Math.max(1, either);
    if (likeness > highest) [best, highest] = [index, likeness];
  });
  return best;
}
