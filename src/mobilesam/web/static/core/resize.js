/**
 * Resizing of photos as Pillow's bilinear filter does it, bit for bit: the library resizes with Pillow, and the
 * browser's own scaling differs from browser to browser.
 */

/** @typedef {import("./types.js").Hw} Hw */

const BITS = 22; // of the fixed-point weights: an 8-bit value times a weight stays below 2^31
const HALF = 2 ** (BITS - 1);

/**
 * Size of a photo whose longer side is resized to `side`.
 * @param {Hw} hw
 * @param {number} side
 * @returns {Hw}
 */
export function inputSize([h, w], side) {
  const scale = side / Math.max(h, w);
  return [Math.max(1, Math.floor(h * scale + 0.5)), Math.max(1, Math.floor(w * scale + 0.5))];
}

/**
 * The source pixels of every target pixel along one axis, and their weights; a triangle as wide as a target pixel.
 * @param {number} from
 * @param {number} to
 */
function weigh(from, to) {
  const scale = from / to;
  const support = Math.max(1, scale);
  const most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = new Int32Array(to * most);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(from, Math.trunc(centre + support + 0.5)) - first;
    const row = [];
    let sum = 0;
    for (let k = 0; k < count; k++) {
      const weight = Math.max(0, 1 - Math.abs((k + first - centre + 0.5) / support));
      row.push(weight);
      sum += weight;
    }
    row.forEach((weight, k) => (weights[i * most + k] = Math.trunc((weight / sum) * 2 ** BITS + 0.5)));
    starts[i] = first;
    counts[i] = count;
  }
  return { starts, counts, weights, most };
}

/**
 * Resize a part of an RGBA photo to planes of red, green and blue: (3, h, w) float32 with whole values 0-255.
 * @param {import("./types.js").Pixels} photo
 * @param {import("./types.js").Box} region  part of the photo in whole pixels
 * @param {Hw} size  of the result
 * @returns {Float32Array}
 */
export function resizeToPlanes(photo, [x0, y0, x1, y1], [h, w]) {
  const rows = y1 - y0;
  const across = weigh(x1 - x0, w);
  const down = weigh(rows, h);
  const { data, width } = photo;
  const narrow = new Uint8ClampedArray(rows * w * 3); // resized along x, (rows, w, 3)
  for (let y = 0; y < rows; y++) {
    const line = ((y + y0) * width + x0) * 4;
    for (let x = 0; x < w; x++) {
      let r = HALF, g = HALF, b = HALF;
      let at = line + across.starts[x] * 4;
      const base = x * across.most;
      for (let k = 0; k < across.counts[x]; k++, at += 4) {
        const weight = across.weights[base + k];
        r += data[at] * weight;
        g += data[at + 1] * weight;
        b += data[at + 2] * weight;
      }
      const to = (y * w + x) * 3;
      narrow[to] = r >> BITS;
      narrow[to + 1] = g >> BITS;
      narrow[to + 2] = b >> BITS;
    }
  }
  return alongY(narrow, down, h, w);
}

/**
 * The second pass: resize (rows, w, 3) bytes along y into planes.
 * @param {Uint8ClampedArray} narrow
 * @param {ReturnType<typeof weigh>} down
 * @param {number} h
 * @param {number} w
 */
function alongY(narrow, down, h, w) {
  const planes = new Float32Array(3 * h * w);
  const sums = new Float64Array(w * 3);
  for (let y = 0; y < h; y++) {
    sums.fill(HALF);
    for (let k = 0; k < down.counts[y]; k++) {
      const weight = down.weights[y * down.most + k];
      const row = (down.starts[y] + k) * w * 3;
      for (let i = 0; i < w * 3; i++) sums[i] += narrow[row + i] * weight;
    }
    for (let x = 0; x < w; x++) {
      for (let c = 0; c < 3; c++) planes[(c * h + y) * w + x] = Math.min(255, sums[x * 3 + c] >> BITS);
    }
  }
  return planes;
}
