/** The three extents of an answer by size: the decoder gives them in no order that a user could rely on. */

import { photoMask, plane } from "./logits.js";
import { inputSize } from "./resize.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Box} Box */

const MEASURED_SIDE = 512; // pixels of the longer side at which masks of larger photos are measured

/**
 * Area of each of an answer's masks as it is shown, in pixels of the photo; near enough to sort them.
 * @param {Answer} answer
 */
export function areasOf(answer) {
  const { photoHw } = answer;
  const small = MEASURED_SIDE < Math.max(...photoHw) ? shrunk(answer, MEASURED_SIDE) : answer;
  const scale = (photoHw[0] * photoHw[1]) / (small.photoHw[0] * small.photoHw[1]);
  return Array.from(answer.scores, (_, i) => scale * photoMask(small, i).data.reduce((sum, bit) => sum + bit, 0));
}

/**
 * Areas in pixels of the logits, fast enough for hovering; second looks and boxes are left out.
 * @param {Answer} answer
 */
export function roughAreas(answer) {
  const length = answer.side / 4;
  const [rows, columns] = answer.inputHw.map((size) => Math.ceil(size / 4)); // the rest is padding
  return Array.from(answer.scores, (_, i) => {
    const logits = plane(answer, i);
    let area = 0;
    for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) if (logits[y * length + x] > 0) area++;
    return area;
  });
}

/**
 * The same answer to a smaller photo.
 * @param {Answer} answer
 * @param {number} side
 * @returns {Answer}
 */
function shrunk(answer, side) {
  const { closeup, enclosure } = answer;
  const photoHw = inputSize(answer.photoHw, side);
  const [down, across] = [photoHw[0] / answer.photoHw[0], photoHw[1] / answer.photoHw[1]];
  const scaled = (/** @type {Box} */ [x0, y0, x1, y1]) => /** @type {Box} */ ([x0 * across, y0 * down, x1 * across, y1 * down]);
  return {
    ...answer,
    photoHw,
    closeup: closeup && { ...closeup, region: whole(scaled(closeup.region)) },
    enclosure: enclosure && { ...enclosure, box: scaled(enclosure.box) },
  };
}

/**
 * A box on whole pixels, at least one wide and high.
 * @param {Box} box
 * @returns {Box}
 */
function whole([x0, y0, x1, y1]) {
  const [left, top] = [Math.floor(x0), Math.floor(y0)];
  return [left, top, Math.max(left + 1, Math.round(x1)), Math.max(top + 1, Math.round(y1))];
}

/**
 * Indexes of the three extents, the smallest first; of equal areas the lower index first.
 * @param {number[]} areas  of all masks of an answer; the first is the single mask, which is no extent
 */
function bySize(areas) {
  return areas.map((_, i) => i).slice(1).sort((a, b) => areas[a] - areas[b]);
}

/**
 * The mask of an extent.
 * @param {number[]} areas
 * @param {number} extent  1 the smallest to 3 the largest
 */
export function indexOf(areas, extent) {
  return bySize(areas)[extent - 1];
}

/**
 * The extent that a mask is, 1 the smallest to 3 the largest; 0 for the single mask.
 * @param {number[]} areas
 * @param {number} index
 */
export function extentOf(areas, index) {
  return 1 + bySize(areas).indexOf(index);
}

/**
 * The next larger or smaller extent than that of a mask; the last one where there is no further.
 * @param {number[]} areas
 * @param {number} index
 * @param {number} step  1 larger, -1 smaller
 */
export function nextExtent(areas, index, step) {
  const extent = extentOf(areas, index);
  if (extent) return Math.min(3, Math.max(1, extent + step));
  const smaller = bySize(areas).filter((i) => areas[i] < areas[index]).length;
  const larger = bySize(areas).filter((i) => areas[i] > areas[index]).length;
  return step > 0 ? Math.min(3, 4 - larger) : Math.max(1, smaller);
}
