/** Masks in the forms of other tools, with the same contents as the library's files. */

import { boxOf } from "./logits.js";
import { joined, svgPath, tracePieces } from "./outlines.js";
import { toRle } from "./rle.js";

/** @typedef {import("./types.js").Named} Named */
/** @typedef {{fileName: string, width: number, height: number}} PhotoName */

/** @param {Named["mask"]} mask */
function area({ data }) {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i];
  return sum;
}

/**
 * A COCO annotation file.
 * @param {PhotoName} photo
 * @param {Named[]} objects
 */
export function toCoco(photo, objects) {
  const names = [...new Set(objects.map((one) => one.name))];
  const image = { id: 1, file_name: photo.fileName, width: photo.width, height: photo.height };
  const annotations = objects.map(({ mask, name, score }, i) => {
    const [x0, y0, x1, y1] = boxOf(mask.data, [mask.height, mask.width]);
    return {
      id: i + 1,
      image_id: 1,
      category_id: names.indexOf(name) + 1,
      iscrowd: 0,
      segmentation: toRle(mask),
      bbox: [x0, y0, x1 - x0, y1 - y0],
      area: area(mask),
      score,
    };
  });
  return { images: [image], annotations, categories: names.map((name, i) => ({ id: i + 1, name })) };
}

/**
 * A LabelMe file: a polygon for each piece of an object, which share a group.
 * @param {PhotoName} photo
 * @param {Named[]} objects
 */
export function toLabelMe(photo, objects) {
  const shapes = objects.flatMap(({ mask, name }, i) =>
    tracePieces(mask).map((piece) => ({
      label: name,
      points: joined(piece),
      group_id: i + 1,
      description: "",
      shape_type: "polygon",
      flags: {},
    })),
  );
  const size = { imageHeight: photo.height, imageWidth: photo.width };
  return { version: "5.5.0", flags: {}, shapes, imagePath: photo.fileName, imageData: null, ...size };
}

/**
 * An SVG document: a path for each object, larger ones first.
 * @param {PhotoName} photo
 * @param {Named[]} objects
 */
export function toSvg(photo, objects) {
  const size = `width="${photo.width}" height="${photo.height}"`;
  const lines = [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${photo.width} ${photo.height}" ${size}>`];
  for (const { mask, name, colour } of [...objects].sort((a, b) => area(b.mask) - area(a.mask))) {
    const style = `fill="${colour}" fill-opacity="0.5" fill-rule="evenodd"`;
    lines.push(`<path ${style} d="${svgPath(mask)}"><title>${escaped(name)}</title></path>`);
  }
  return [...lines, "</svg>", ""].join("\n");
}

/** What XML 1.0 cannot hold, escaped or not, is written out, such as "\\u0002". */
const NOT_XML = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** @param {string} text */
function escaped(text) {
  const visible = text.replace(NOT_XML, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return visible.replace(/[&<>"]/g, (found) => `&#${found.charCodeAt(0)};`);
}

/**
 * A label image: 0 background, i the i-th object, smaller objects on top.
 * @param {PhotoName} photo
 * @param {Named[]} objects
 */
export function toLabels({ width, height }, objects) {
  const labels = new Uint16Array(width * height);
  const order = objects.map((one, i) => ({ i, size: area(one.mask) })).sort((a, b) => b.size - a.size);
  for (const { i } of order) {
    const { data } = objects[i].mask;
    for (let k = 0; k < data.length; k++) if (data[k]) labels[k] = i + 1;
  }
  return labels;
}

/**
 * Objects on a transparent background, cropped to them or not.
 * @param {import("./types.js").Pixels} photo
 * @param {Named["mask"][]} masks
 * @param {boolean} isCropped
 */
export function cutOut({ width, height, data }, masks, isCropped) {
  const together = new Uint8Array(width * height);
  for (const mask of masks) for (let i = 0; i < together.length; i++) together[i] |= mask.data[i];
  const [x0, y0, x1, y1] = isCropped ? boxOf(together, [height, width]) : [0, 0, width, height];
  if (x1 === x0) throw new Error("The mask is empty; there is nothing to cut out.");
  const pixels = new Uint8Array((x1 - x0) * (y1 - y0) * 4);
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const from = y * width + x;
      const to = ((y - y0) * (x1 - x0) + x - x0) * 4;
      for (let c = 0; c < 3; c++) pixels[to + c] = data[from * 4 + c];
      pixels[to + 3] = together[from] * 255;
    }
  }
  return { width: x1 - x0, height: y1 - y0, pixels };
}
