/** Outlines of logits with fractions of pixels (marching squares), for drawing: smooth at any magnification. */

// For each of the 16 kinds of cell, segments from edge to edge with the object on the right. Bits: upper left 1,
// upper right 2, lower right 4, lower left 8. Edges: 0 top, 1 right, 2 bottom, 3 left.
const SEGMENTS = [
  [], [[0, 3]], [[1, 0]], [[1, 3]], [[2, 1]], [[0, 3], [2, 1]], [[2, 0]], [[2, 3]],
  [[3, 2]], [[0, 2]], [[1, 0], [3, 2]], [[1, 2]], [[3, 1]], [[0, 1]], [[3, 0]], [],
];

/**
 * Trace where logits (h, w) cross 0, scaled to the photo. Objects that touch the border are closed along it.
 * @param {Float32Array} logits
 * @param {import("./types.js").Hw} hw
 * @param {import("./types.js").Hw} photoHw
 * @returns {import("./types.js").Outline}
 */
export function contours(logits, [h, w], photoHw) {
  const W = w + 2; // one more sample on each side, the mirror image below 0 of an object at the border
  const grid = padded(logits, h, w);
  const next = new Int32Array(2 * W * (h + 2)).fill(-1); // edge → edge; 2i: from sample i to the right, 2i + 1: down
  /** @type {number[]} */
  const starts = [];
  for (let y = 0; y <= h; y++) {
    for (let x = 0; x <= w; x++) {
      const at = y * W + x;
      const kind =
        (grid[at] > 0 ? 1 : 0) | (grid[at + 1] > 0 ? 2 : 0) | (grid[at + W + 1] > 0 ? 4 : 0) | (grid[at + W] > 0 ? 8 : 0);
      if (kind === 0 || kind === 15) continue;
      const edges = [2 * at, 2 * (at + 1) + 1, 2 * (at + W), 2 * at + 1];
      for (const [from, to] of SEGMENTS[kind]) {
        next[edges[from]] = edges[to];
        starts.push(edges[from]);
      }
    }
  }
  return follow(next, starts, grid, W, w, h, photoHw);
}

/**
 * @param {Float32Array} logits
 * @param {number} h
 * @param {number} w
 */
function padded(logits, h, w) {
  const W = w + 2;
  const grid = new Float32Array(W * (h + 2));
  for (let y = 0; y < h; y++) grid.set(logits.subarray(y * w, (y + 1) * w), (y + 1) * W + 1);
  for (let x = 1; x <= w; x++) {
    grid[x] = -Math.abs(grid[W + x]);
    grid[(h + 1) * W + x] = -Math.abs(grid[h * W + x]);
  }
  for (let y = 0; y < h + 2; y++) {
    grid[y * W] = -Math.abs(grid[y * W + 1]);
    grid[y * W + w + 1] = -Math.abs(grid[y * W + w]);
  }
  return grid;
}

/**
 * @param {Int32Array} next
 * @param {number[]} starts
 * @param {Float32Array} grid
 * @param {number} W
 * @param {number} w
 * @param {number} h
 * @param {import("./types.js").Hw} photoHw
 */
function follow(next, starts, grid, W, w, h, photoHw) {
  /** @type {number[]} */
  const points = [];
  /** @type {number[]} */
  const lengths = [];
  const [toX, toY] = [photoHw[1] / w, photoHw[0] / h];
  for (const start of starts) {
    if (next[start] < 0) continue;
    const before = points.length;
    for (let edge = start; next[edge] >= 0; ) {
      const sample = edge >> 1;
      const isDown = edge & 1;
      const [a, b] = [grid[sample], grid[sample + (isDown ? W : 1)]];
      const share = a / (a - b);
      const x = (sample % W) - 0.5 + (isDown ? 0 : share);
      const y = Math.floor(sample / W) - 0.5 + (isDown ? share : 0);
      points.push(Math.min(Math.max(x, 0), w) * toX, Math.min(Math.max(y, 0), h) * toY);
      const after = next[edge];
      next[edge] = -1;
      edge = after;
    }
    lengths.push((points.length - before) / 2);
  }
  return { points: Float32Array.from(points), lengths: Uint32Array.from(lengths) };
}
