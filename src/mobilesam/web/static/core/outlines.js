/** Outlines along the edges of pixels, for files: filling them gives exactly the mask. */

/** @typedef {[number, number][]} Loop  (x, y) corners of pixels, the object on the right */
/** @typedef {{outer: Loop, holes: Loop[]}} Piece  pixels that touch at sides or corners, with their holes */

const STEPS = /** @type {const} */ ([[1, 0], [0, 1], [-1, 0], [0, -1]]); // right, down, left, up

/**
 * All loops of a mask.
 * @param {import("./types.js").Bits} mask
 * @returns {Loop[]}
 */
export function traceLoops({ width, height, data }) {
  const at = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] === 1;
  const seen = [new Uint8Array(width * (height + 1)), new Uint8Array(width * (height + 1))]; // edges to right, to left
  /** @type {Loop[]} */
  const loops = [];
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x < width; x++) {
      const [above, below] = [at(x, y - 1), at(x, y)];
      if (above === below) continue;
      const direction = below ? 0 : 2;
      if (!seen[direction >> 1][y * width + x]) loops.push(walk(at, seen, width, below ? x : x + 1, y, direction));
    }
  }
  return loops;
}

/**
 * Walk once around from a horizontal edge.
 * @param {(x: number, y: number) => boolean} at
 * @param {Uint8Array[]} seen
 * @param {number} width
 * @param {number} startX
 * @param {number} startY
 * @param {number} start  index of STEPS
 */
function walk(at, seen, width, startX, startY, start) {
  /** @type {Loop} */
  const loop = [];
  let [x, y, direction] = [startX, startY, start];
  do {
    if (direction === 0) seen[0][y * width + x] = 1;
    if (direction === 2) seen[1][y * width + x - 1] = 1;
    const [dx, dy] = STEPS[direction];
    [x, y] = [x + dx, y + dy];
    // The two pixels ahead, left and right of the way; touching corners count as connected, so left goes first.
    const left = at(x + Math.min(0, dx, dy), y + Math.min(0, dy, -dx));
    const right = at(x + Math.min(0, dx, -dy), y + Math.min(0, dy, dx));
    const turned = left ? (direction + 3) % 4 : right ? direction : (direction + 1) % 4;
    if (turned !== direction) loop.push([x, y]);
    direction = turned;
  } while (x !== startX || y !== startY || direction !== start);
  return loop;
}

/**
 * The pieces of a mask, each with its holes.
 * @param {import("./types.js").Bits} mask
 * @returns {Piece[]}
 */
export function tracePieces(mask) {
  const loops = traceLoops(mask);
  const pieces = loops.filter((loop) => signedArea(loop) > 0).map((outer) => ({ outer, holes: /** @type {Loop[]} */ ([]) }));
  const areas = pieces.map((piece) => signedArea(piece.outer));
  for (const hole of loops.filter((loop) => signedArea(loop) < 0)) {
    let owner = -1;
    pieces.forEach((piece, i) => {
      if ((owner < 0 || areas[i] < areas[owner]) && contains(piece.outer, hole[0])) owner = i;
    });
    pieces[owner].holes.push(hole);
  }
  return pieces;
}

/** @param {Loop} loop */
function signedArea(loop) {
  let sum = 0;
  loop.forEach(([x, y], i) => {
    const [nextX, nextY] = loop[(i + 1) % loop.length];
    sum += x * nextY - nextX * y;
  });
  return sum / 2;
}

/**
 * Whether a loop encloses a corner of a hole; a hole's corner on the loop itself counts as inside.
 * @param {Loop} loop
 * @param {[number, number]} corner
 */
function contains(loop, [x, y]) {
  let inside = false;
  for (let i = 0, j = loop.length - 1; i < loop.length; j = i++) {
    const [xi, yi] = loop[i];
    const yj = loop[j][1];
    if (xi === x && yi === y) return true;
    if (yi > y !== yj > y && x < xi) inside = !inside;
  }
  return inside;
}

/**
 * One polygon of a piece: to each hole leads a bridge without width, walked there and back.
 * @param {Piece} piece
 * @returns {Loop}
 */
export function joined({ outer, holes }) {
  let polygon = outer;
  for (const hole of holes) {
    let [best, from, to] = [Infinity, 0, 0];
    polygon.forEach(([x, y], i) =>
      hole.forEach(([u, v], k) => {
        const apart = Math.abs(x - u) + Math.abs(y - v);
        if (apart < best) [best, from, to] = [apart, i, k];
      }),
    );
    const round = [...hole.slice(to), ...hole.slice(0, to), hole[to]];
    polygon = [...polygon.slice(0, from + 1), ...round, ...polygon.slice(from)];
  }
  return polygon;
}

/**
 * The `d` attribute of an SVG path, for the even-odd fill rule.
 * @param {import("./types.js").Bits} mask
 */
export function svgPath(mask) {
  return traceLoops(mask)
    .map((loop) => {
      const steps = loop.slice(1).map(([x, y], i) => (y === loop[i][1] ? `H${x}` : `V${y}`));
      return `M${loop[0][0]} ${loop[0][1]}${steps.join("")}Z`;
    })
    .join("");
}
