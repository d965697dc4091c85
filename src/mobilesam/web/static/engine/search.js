/** Everything: a grid of clicks, filtered as the library filters them, in batches so that the page sees masks come. */

import { inputSize } from "../core/resize.js";
import { boxOf, upscale } from "../core/logits.js";
import { contours } from "../core/contours.js";
import { suppress, stability } from "../core/filters.js";
import { ort } from "./runtime.js";

/** @typedef {import("../core/types.js").Box} Box */
/**
 * @typedef {object} Found  a mask of the grid
 * @property {import("../core/types.js").Answer} answer
 * @property {Box} box
 * @property {number} area
 * @property {number} score
 * @property {import("../core/types.js").Outline} outline
 */

const BATCH = 16; // clicks per call of the decoder
const JUDGED_SIDE = 512; // pixels; the size at which masks are filtered

/**
 * @param {import("./predict.js").Model} model
 * @param {{side: number, perSide: number, minScore: number, minStability: number, maxOverlap: number}} wish
 * @param {(found: {done: number, total: number, masks: Found[]}) => void} report
 * @param {() => boolean} isCancelled
 */
export async function searchAll(model, wish, report, isCancelled) {
  const { side, perSide } = wish;
  await model.embed(side);
  const decoder = await model.manyDecoder(side);
  const total = perSide * perSide;
  /** @type {Found[]} */
  let found = [];
  for (let start = 0; start < total && !isCancelled(); start += BATCH) {
    const count = Math.min(BATCH, total - start);
    const answer = await askPoints(model, decoder, side, perSide, start, count);
    found = thin([...found, ...judge(model, answer, wish)], wish.maxOverlap);
    report({ done: start + count, total, masks: found });
    await new Promise((resolve) => setTimeout(resolve)); // lets a message to cancel in
  }
  return { masks: found, isComplete: !isCancelled() };
}

/**
 * @param {import("./predict.js").Model} model
 * @param {any} decoder
 * @param {number} side
 * @param {number} perSide
 * @param {number} start
 * @param {number} count
 */
export async function askPoints(model, decoder, side, perSide, start, count) {
  const [h, w] = inputSize(model.photoHw, side);
  const length = side / 4;
  const coords = new Float32Array(count * 4);
  const labels = new Float32Array(count * 2);
  for (let i = 0; i < count; i++) {
    const at = start + i;
    coords[i * 4] = (((at % perSide) + 0.5) / perSide) * w;
    coords[i * 4 + 1] = ((Math.floor(at / perSide) + 0.5) / perSide) * h;
    labels.set([1, -1], i * 2);
  }
  const inputs = {
    embedding: model.embeddings.get(side),
    point_coords: new ort.Tensor("float32", coords, [count, 2, 2]),
    point_labels: new ort.Tensor("float32", labels, [count, 2]),
    min_score: new ort.Tensor("float32", Float32Array.of(-Infinity), []),
  };
  if (!decoder.inputNames.includes("mask_input")) return decoder.run(inputs);
  return decoder.run({
    ...inputs,
    mask_input: new ort.Tensor("float32", new Float32Array(length * length), [1, 1, length, length]),
    has_mask_input: new ort.Tensor("float32", Float32Array.of(0), [1]),
  });
}

/**
 * The masks that pass the filters of score and stability.
 * @param {import("./predict.js").Model} model
 * @param {any} answer
 * @param {{side: number, minScore: number, minStability: number}} wish
 */
function judge(model, answer, { side, minScore, minStability }) {
  const photoHw = model.photoHw;
  const inputHw = inputSize(photoHw, side);
  const hw = inputSize(photoHw, Math.min(JUDGED_SIDE, Math.max(...photoHw)));
  const size = (side / 4) ** 2;
  const [toX, toY] = [photoHw[1] / hw[1], photoHw[0] / hw[0]];
  /** @type {Found[]} */
  const found = [];
  for (let i = 0; i < answer.iou_predictions.data.length; i++) {
    const score = answer.iou_predictions.data[i];
    if (i % 4 === 0 || score <= minScore) continue; // every fourth is the single mask
    const lowRes = answer.low_res_masks.data.slice(i * size, (i + 1) * size);
    const logits = upscale(lowRes, side, inputHw, hw);
    if (stability(logits, 1) < minStability) continue;
    const [x0, y0, x1, y1] = boxOf(logits, hw);
    const box = /** @type {Box} */ ([x0 * toX, y0 * toY, x1 * toX, y1 * toY].map(Math.round));
    let area = 0;
    for (let k = 0; k < logits.length; k++) if (logits[k] > 0) area++;
    const one = { side, inputHw, photoHw, lowRes, scores: Float32Array.of(score), closeup: null, enclosure: null };
    found.push({ answer: one, box, score, area: area * toX * toY, outline: contours(logits, hw, photoHw) });
  }
  return found;
}

/**
 * Of masks whose boxes overlap, the best.
 * @param {Found[]} found
 * @param {number} maxOverlap
 */
function thin(found, maxOverlap) {
  return suppress(found.map((one) => one.box), found.map((one) => one.score), maxOverlap).map((i) => found[i]);
}
