/** The model: one photo encoded at one or two sides, and answers to prompts. */

import { bestIndex, bilinear, boxOf, photoLogits, photoMask, plane, upscale } from "../core/logits.js";
import { contours } from "../core/contours.js";
import { enclosureOf, lowerOutside } from "../core/enclosure.js";
import { decoderInputs, isAmbiguous } from "../core/prompts.js";
import { chooseRegion, mostLike } from "../core/zoom.js";
import { inputSize, resizeToPlanes } from "../core/resize.js";
import { openGraph, ort } from "./runtime.js";

/** @typedef {import("../core/types.js").Answer} Answer */
/** @typedef {import("../core/types.js").Box} Box */
/** @typedef {import("../core/types.js").Hw} Hw */
/** @typedef {import("../core/types.js").Pixels} Pixels */
/** @typedef {import("../core/types.js").Prompt} Prompt */
/** @typedef {import("../core/types.js").Prior} Prior */

const MEAN = [123.675, 116.28, 103.53]; // of ImageNet's photos, the encoder's own padding
const OUTLINED_SIDE = 1024; // pixels at which the outlines of results are traced

export class Model {
  /**
   * @param {import("./runtime.js").ModelCard} card
   * @param {any} encoder
   * @param {Uint8Array} decoderBytes
   * @param {Uint8Array | null} manyBytes  of the decoder for many prompts, which some models lack
   * @param {import("./roads.js").Roads} roads
   */
  constructor(card, encoder, decoderBytes, manyBytes, roads) {
    this.card = card;
    this.manyBytes = manyBytes;
    /** @type {Map<number, Promise<any>>} */
    this.manyDecoders = new Map();
    this.roads = roads;
    this.encoder = encoder;
    this.decoderBytes = decoderBytes;
    /** @type {Map<number, Promise<any>>} */
    this.decoders = new Map();
    /** @type {Pixels | null} */
    this.photo = null;
    /** @type {Map<number, any>} */
    this.embeddings = new Map();
    /** @type {Map<number, Float32Array>} */
    this.noMask = new Map();
  }

  /** @param {Pixels} photo */
  setPhoto(photo) {
    this.photo = photo;
    this.embeddings.clear();
    this.roads.startPhoto();
  }

  /** @returns {Pixels} */
  get pixels() {
    if (!this.photo) throw new Error("No photo is open.");
    return this.photo;
  }

  /** @returns {Hw} */
  get photoHw() {
    return [this.pixels.height, this.pixels.width];
  }

  /** @param {number} side */
  decoder(side) {
    const found = this.decoders.get(side) || openGraph(this.decoderBytes, side / 16);
    this.decoders.set(side, found);
    return found;
  }

  /**
   * The decoder for many prompts without priors, which is faster for them and takes its weights from the other one.
   * @param {number} side
   */
  manyDecoder(side) {
    if (!this.manyBytes) return this.decoder(side);
    const found = this.manyDecoders.get(side) || openGraph(this.manyBytes, side / 16, [{ path: "decoder.onnx", data: this.decoderBytes }]);
    this.manyDecoders.set(side, found);
    return found;
  }

  /**
   * Encode the photo at a side, unless that was done before.
   * @param {number} side
   */
  async embed(side) {
    const photo = this.pixels;
    if (this.embeddings.has(side)) return;
    const hw = inputSize([photo.height, photo.width], side);
    const planes = resizeToPlanes(photo, [0, 0, photo.width, photo.height], hw);
    const embedding = await this.encode(planes, hw, false);
    if (photo === this.photo) this.embeddings.set(side, embedding);
  }

  /**
   * Encode a resized photo here or by the service.
   * @param {Float32Array} planes  (3, h, w)
   * @param {Hw} hw
   * @param {boolean} isSquare  whether to pad it to a square, as the library pads the regions of second looks
   */
  encode(planes, hw, isSquare) {
    const side = Math.max(...hw);
    const [h, w] = isSquare ? [side, side] : hw;
    const here = async () => {
      const image = isSquare ? squared(planes, hw, side) : planes;
      return (await this.encoder.run({ image: new ort.Tensor("float32", image, [1, 3, h, w]) })).embedding;
    };
    const grid = side / 16;
    const received = (/** @type {Float32Array} */ values) =>
      new ort.Tensor("float32", values, [1, values.length / grid ** 2, grid, grid]);
    return this.roads.encode(planes, hw, isSquare, here, received);
  }

  /**
   * Encode a region of the photo for a second look.
   * @param {Box} region
   * @param {Hw} inputHw  its size when resized
   */
  encodeRegion(region, inputHw) {
    return this.encode(resizeToPlanes(this.pixels, region, inputHw), inputHw, true);
  }

  /**
   * Answer a prompt: four masks, the first the single one, the others of three extents.
   * @param {Prompt} prompt
   * @param {number} side
   * @param {Prior | null} prior
   * @returns {Promise<Answer>}
   */
  async predict(prompt, side, prior = null) {
    await this.embed(side);
    const inputHw = inputSize(this.photoHw, side);
    const inputs = decoderInputs(prompt, [0, 0], this.photoHw, inputHw);
    const { lowRes, scores } = await this.decode(this.embeddings.get(side), side, inputs, this.fitted(prior, side));
    const enclosure = enclosureOf(prompt, this.card.outside_box || 0);
    return { side, inputHw, photoHw: this.photoHw, lowRes, scores, closeup: null, enclosure };
  }

  /**
   * Logits of a prior at another side: between the sides for hovering and for results they are only resized.
   * @param {Prior | null} prior
   * @param {number} side
   */
  fitted(prior, side) {
    if (!prior || prior.side === side) return prior ? prior.logits : null;
    return bilinear(prior.logits, prior.side / 4, [prior.side / 4, prior.side / 4], [side / 4, side / 4]);
  }

  /**
   * @param {any} embedding
   * @param {number} side
   * @param {{coords: Float32Array, labels: Float32Array}} inputs  of one prompt
   * @param {Float32Array | null} prior
   */
  async decode(embedding, side, inputs, prior) {
    const length = side / 4;
    const decoder = await this.decoder(side);
    let none = this.noMask.get(side);
    if (!none) this.noMask.set(side, (none = new Float32Array(length * length)));
    const points = inputs.labels.length;
    const answer = await decoder.run({
      embedding,
      point_coords: new ort.Tensor("float32", inputs.coords, [1, points, 2]),
      point_labels: new ort.Tensor("float32", inputs.labels, [1, points]),
      mask_input: new ort.Tensor("float32", prior || none, [1, 1, length, length]),
      has_mask_input: new ort.Tensor("float32", Float32Array.of(prior ? 1 : 0), [1]),
      min_score: new ort.Tensor("float32", Float32Array.of(-Infinity), []),
    });
    const found = {
      lowRes: Float32Array.from(answer.low_res_masks.data),
      scores: Float32Array.from(answer.iou_predictions.data),
    };
    answer.low_res_masks.dispose();
    answer.iou_predictions.dispose();
    return found;
  }

  /**
   * Take a second look at a small object; the same answer where there is none to take.
   * @param {Prompt} prompt
   * @param {Answer} answer
   * @param {boolean} hasPrior
   * @returns {Promise<Answer>}
   */
  async lookAgain(prompt, answer, hasPrior) {
    const below = prompt.box ? this.card.zoom_below : this.card.click_zoom_below;
    if (!(below > 0)) return answer;
    const best = bestIndex(answer.scores, isAmbiguous(prompt, hasPrior));
    const first = prompt.box && !hasPrior ? null : photoMask(answer, best);
    const box = prompt.box || boxOf(/** @type {any} */ (first).data, answer.photoHw);
    const region = chooseRegion(box, prompt.points, answer.photoHw, below);
    if (!region) return answer;
    const { side } = answer;
    const regionHw = /** @type {Hw} */ ([region[3] - region[1], region[2] - region[0]]);
    const inputHw = inputSize(regionHw, side);
    const embedding = await this.encodeRegion(region, inputHw);
    const inputs = decoderInputs(prompt, [region[0], region[1]], regionHw, inputHw);
    const { lowRes, scores } = await this.decode(embedding, side, inputs, null);
    if (prompt.box && !hasPrior) {
      const closeup = { region, inputHw, lowRes, from: [0, 1, 2, 3], goesOn: false };
      return { ...answer, scores, closeup };
    }
    const seen = [1, 2, 3].map((i) => upscale(plane({ lowRes, side }, i), side, inputHw, regionHw));
    const like = 1 + mostLike(seen, cropped(/** @type {any} */ (first), region));
    const from = [0, 1, 2, 3].map((i) => (i === best ? like : -1));
    return { ...answer, closeup: { region, inputHw, lowRes, from, goesOn: !prompt.box } };
  }
}

/**
 * Pad planes (3, h, w) to a square with the mean colour, as the library pads the regions of second looks.
 * @param {Float32Array} planes
 * @param {Hw} hw
 * @param {number} side
 */
function squared(planes, [h, w], side) {
  const square = new Float32Array(3 * side * side);
  for (let c = 0; c < 3; c++) {
    square.fill(MEAN[c], c * side * side, (c + 1) * side * side);
    for (let y = 0; y < h; y++) {
      square.set(planes.subarray((c * h + y) * w, (c * h + y + 1) * w), (c * side + y) * side);
    }
  }
  return square;
}

/**
 * @param {import("../core/types.js").Bits} mask
 * @param {Box} region
 */
function cropped(mask, [x0, y0, x1, y1]) {
  const part = new Uint8Array((x1 - x0) * (y1 - y0));
  for (let y = y0; y < y1; y++) part.set(mask.data.subarray(y * mask.width + x0, y * mask.width + x1), (y - y0) * (x1 - x0));
  return part;
}

/**
 * A mask's outline for the screen.
 * @param {Answer} answer
 * @param {number} index
 * @param {boolean} isQuick  coarser, for hovering
 */
export function outlineOf(answer, index, isQuick) {
  const { photoHw } = answer;
  const hw = inputSize(photoHw, isQuick ? answer.side / 2 : Math.min(OUTLINED_SIDE, Math.max(...photoHw)));
  if (!isQuick && answer.closeup && answer.closeup.from[index] >= 0) {
    return contours(bilinear(photoLogits(answer, index), photoHw[1], photoHw, hw), hw, photoHw);
  }
  const logits = upscale(plane(answer, index), answer.side, answer.inputHw, hw);
  return contours(lowerOutside(logits, hw, photoHw, answer.enclosure), hw, photoHw);
}
