/** Files of the user's objects, made in the worker, which holds the photo. */

import { cutOut, toCoco, toLabelMe, toLabels, toSvg } from "../core/interchange.js";
import { photoMask } from "../core/logits.js";
import { toPng } from "../core/png.js";

/** @typedef {"cutout" | "cutout-full" | "mask" | "labels" | "coco" | "labelme" | "svg"} Form */

/** @type {Record<Form, string>} */
const ENDINGS = {
  cutout: "cutout.png",
  "cutout-full": "cutout.png",
  mask: "mask.png",
  labels: "labels.png",
  coco: "coco.json",
  labelme: "labelme.json",
  svg: "masks.svg",
};

/**
 * @param {import("../core/types.js").Pixels} photo
 * @param {{form: Form, fileName: string, objects: {name: string, colour: string, answer: import("../core/types.js").Answer,
 *   choice: number}[]}} wish
 * @returns {Promise<{blob: Blob, name: string}>}
 */
export async function writeFile(photo, { form, fileName, objects }) {
  const { width, height } = photo;
  const named = objects.map(({ name, colour, answer, choice }) => ({
    name, colour, score: answer.scores[choice], mask: photoMask(answer, choice),
  }));
  const about = { fileName, width, height };
  const json = (/** @type {object} */ value) => new Blob([JSON.stringify(value)], { type: "application/json" });
  const masks = named.map((one) => one.mask);
  const stem = fileName.replace(/\.[^.]*$/, "") || "photo";
  /** @type {Record<Form, () => Promise<Blob> | Blob>} */
  const make = {
    cutout: () => cutOutPng(photo, masks, true),
    "cutout-full": () => cutOutPng(photo, masks, false),
    mask: () => toPng(width, height, "grey", united(masks, width * height)),
    labels: () => toPng(width, height, "grey", toLabels(about, named)),
    coco: () => json(toCoco(about, named)),
    labelme: () => json(toLabelMe(about, named)),
    svg: () => new Blob([toSvg(about, named)], { type: "image/svg+xml" }),
  };
  return { blob: await make[form](), name: `${stem}_${ENDINGS[form]}` };
}

/**
 * @param {import("../core/types.js").Pixels} photo
 * @param {import("../core/types.js").Bits[]} masks
 * @param {boolean} isCropped
 */
function cutOutPng(photo, masks, isCropped) {
  const { width, height, pixels } = cutOut(photo, masks, isCropped);
  return toPng(width, height, "rgba", pixels);
}

/**
 * 255 where any mask is.
 * @param {import("../core/types.js").Bits[]} masks
 * @param {number} length
 */
function united(masks, length) {
  const pixels = new Uint8Array(length);
  for (const mask of masks) for (let i = 0; i < length; i++) if (mask.data[i]) pixels[i] = 255;
  return pixels;
}
