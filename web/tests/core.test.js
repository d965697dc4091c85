/** Units of the page that need no browser. What must equal the library is compared with it in tests/web. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { contours } from "../../src/mobilesam/web/static/core/contours.js";
import { enclosureOf, lowerOutside } from "../../src/mobilesam/web/static/core/enclosure.js";
import { areasOf, extentOf, indexOf, nextExtent, roughAreas } from "../../src/mobilesam/web/static/core/extents.js";
import { stability, suppress } from "../../src/mobilesam/web/static/core/filters.js";
import { History } from "../../src/mobilesam/web/static/core/history.js";
import { toSvg } from "../../src/mobilesam/web/static/core/interchange.js";
import { boxOf } from "../../src/mobilesam/web/static/core/logits.js";
import { joined, svgPath, tracePieces } from "../../src/mobilesam/web/static/core/outlines.js";
import { boxFrom, decoderInputs } from "../../src/mobilesam/web/static/core/prompts.js";
import { fit, kept, toPhoto, zoomed } from "../../src/mobilesam/web/static/core/viewport.js";
import { chooseRegion } from "../../src/mobilesam/web/static/core/zoom.js";

/** @typedef {import("../../src/mobilesam/web/static/core/types.js").Box} Box */

/** @param {string[]} rows */
function bits(rows) {
  const data = Uint8Array.from(rows.join(""), (sign) => (sign === "#" ? 1 : 0));
  return { width: rows[0].length, height: rows.length, data };
}

/** @param {[number, number][]} loop */
function area(loop) {
  return loop.reduce((sum, [x, y], i) => sum + x * loop[(i + 1) % loop.length][1] - loop[(i + 1) % loop.length][0] * y, 0) / 2;
}

test("undo and redo go back and forth, and a new step forgets what was undone", () => {
  const history = new History("a");
  history.push("b");
  assert.equal(history.undo(), true);
  assert.equal(history.now, "a");
  assert.equal(history.redo(), true);
  history.undo();
  history.push("c");
  assert.equal(history.redo(), false);
  assert.deepEqual([history.past, history.now], [["a"], "c"]);
});

test("mending changes every state, and undo still leads to the mended ones", () => {
  const history = new History(1);
  history.push(2);
  history.mend((value) => value * 10);
  history.undo();
  assert.equal(history.now, 10);
});

test("a single pixel is a square", () => {
  assert.equal(svgPath(bits(["...", ".#.", "..."])), "M2 1V2H1V1Z");
});

test("pixels that touch at a corner are one piece, and a hole belongs to the piece around it", () => {
  assert.equal(tracePieces(bits(["#..", ".#.", "..#"])).length, 1);
  const ring = tracePieces(bits(["#####", "#...#", "#.#.#", "#...#", "#####"]));
  assert.equal(ring.length, 2);
  assert.deepEqual(ring.map((piece) => piece.holes.length), [1, 0]);
  assert.equal(area(joined(ring[0])), 16);
});

test("a name in an SVG file is escaped, and what XML forbids in it is visible", () => {
  const mask = { data: new Uint8Array([1]), width: 1, height: 1 };
  const names = { "a<b": "a&#60;b", "a\u0002b": "a\\u0002b", "\ufffe\ud800": "\\ufffe\\ud800", "ü \u{1f41f}\t": "ü \u{1f41f}\t" };
  for (const [name, written] of Object.entries(names)) {
    const text = toSvg({ fileName: "a.png", width: 1, height: 1 }, [{ mask, name, colour: "#fff", score: 1 }]);
    assert.ok(text.includes(`<title>${written}</title>`), text);
  }
});

test("outlines for the screen close along the photo's border", () => {
  const { points, lengths } = contours(new Float32Array(12).fill(5), [3, 4], [30, 40]);
  assert.equal(lengths.length, 1);
  assert.deepEqual([Math.min(...points), Math.max(...points)], [0, 40]);
});

test("outlines for the screen lie where the logits cross zero", () => {
  const { points } = contours(Float32Array.of(-1, 3, -1, 3), [2, 2], [2, 2]);
  assert.ok([...points].some((value) => Math.abs(value - 0.75) < 1e-6));
});

test("a prompt ends in padding without a box, and in two corners with one", () => {
  const click = { points: /** @type {[number, number][]} */ ([[10, 20]]), labels: [1], box: null };
  assert.deepEqual([...decoderInputs(click, [0, 0], [100, 200], [50, 100]).coords], [5, 10, 0, 0]);
  const both = { ...click, box: /** @type {Box} */ ([0, 0, 20, 40]) };
  assert.deepEqual([...decoderInputs(both, [0, 0], [100, 200], [50, 100]).labels], [1, 2, 3]);
});

test("a box has its corners in order and inside the photo", () => {
  assert.deepEqual(boxFrom([50, 60], [-5, 10], [40, 100]), [0, 10, 50, 40]);
  assert.equal(boxFrom([5, 5], [5, 9], [40, 100]), null);
});

test("only small objects get a second look", () => {
  assert.equal(chooseRegion([0, 0, 60, 60], [], [100, 100], 0.4), null);
  assert.deepEqual(chooseRegion([40, 40, 80, 60], [], [200, 200], 0.4), [30, 30, 90, 70]);
  assert.deepEqual(chooseRegion([40, 40, 80, 60], [[150, 50]], [200, 200], 0.4), [30, 30, 151, 70]);
  const inFloat32 = chooseRegion([39.999996, 40, 80.000008, 60], [[119.99998, 50]], [200, 200], 0.4);
  assert.deepEqual(inFloat32, [30, 30, 121, 70], "errors of rounding do not make the region larger");
});

test("of overlapping boxes the best is kept, and stability is a ratio of areas", () => {
  const boxes = /** @type {Box[]} */ ([[0, 0, 10, 10], [0, 0, 10, 11], [20, 20, 30, 30]]);
  assert.deepEqual(suppress(boxes, [0.5, 0.9, 0.4], 0.7), [1, 2]);
  assert.equal(stability(Float32Array.of(2, 2, 0, -3), 1), 2 / 3);
});

test("the box of a mask is tight, and zero for an empty one", () => {
  assert.deepEqual(boxOf(bits(["....", ".##.", ".#.."]).data, [3, 4]), [1, 1, 3, 3]);
  assert.deepEqual(boxOf(new Uint8Array(4), [2, 2]), [0, 0, 0, 0]);
});

test("the photo fits the screen, zooms around the pointer and never leaves", () => {
  const [photo, screen] = [{ width: 600, height: 400 }, { width: 1000, height: 700 }];
  const view = fit(photo, screen);
  const before = toPhoto(view, [400, 300]);
  const after = toPhoto(zoomed(view, 2, [400, 300], photo, screen), [400, 300]);
  assert.ok(Math.abs(before[0] - after[0]) < 1e-9 && Math.abs(before[1] - after[1]) < 1e-9);
  const far = kept({ ...view, x: 1e6 }, photo, screen);
  assert.ok(far.x < screen.width);
});

test("logits of pixels whose centre lies outside the prompt's box are lowered, at any size of the photo", () => {
  const enclosure = { box: /** @type {Box} */ ([1, 0.6, 3, 2]), penalty: 3 };
  const rows = (/** @type {Float32Array} */ all, /** @type {number} */ w) =>
    Array.from({ length: all.length / w }, (_, y) => Array.from(all.subarray(y * w, (y + 1) * w)));
  assert.deepEqual(rows(lowerOutside(new Float32Array(12), [3, 4], [3, 4], enclosure), 4), [
    [-3, -3, -3, -3],
    [-3, 0, 0, -3],
    [-3, -3, -3, -3],
  ]);
  assert.equal(lowerOutside(new Float32Array(48), [6, 8], [3, 4], enclosure).filter((one) => one === 0).length, 12);
  assert.deepEqual(lowerOutside(new Float32Array(2), [1, 2], [1, 2], null), new Float32Array(2));
});

test("a point of the object outside its box means that the object goes on there", () => {
  const box = /** @type {Box} */ ([10, 10, 20, 20]);
  assert.deepEqual(enclosureOf({ points: [[12, 12]], labels: [1], box }, 3), { box, penalty: 3 });
  assert.deepEqual(enclosureOf({ points: [[30, 12]], labels: [0], box }, 3), { box, penalty: 3 });
  assert.equal(enclosureOf({ points: [[30, 12]], labels: [1], box }, 3), null);
  assert.equal(enclosureOf({ points: [[12, 12]], labels: [1], box: null }, 3), null);
  assert.equal(enclosureOf({ points: [], labels: [], box }, 0), null);
});

/**
 * An answer of 4 masks, of so many rows of logits each, to a photo that is as large as its input.
 * @param {number[]} rows
 * @param {number} [factor]  of the photo's size
 */
function answerOf(rows, factor = 1) {
  const lowRes = Float32Array.from(rows.flatMap((count) => Array.from({ length: 256 }, (_, i) => (i < 16 * count ? 4 : -4))));
  const photoHw = /** @type {[number, number]} */ ([64 * factor, 64 * factor]);
  return {
    side: 64, inputHw: /** @type {[number, number]} */ ([64, 64]), photoHw, lowRes, scores: new Float32Array(4), enclosure: null,
    closeup: /** @type {import("../../src/mobilesam/web/static/core/types.js").Closeup | null} */ (null),
  };
}

test("extents go from the smallest mask to the largest, equal ones in the decoder's order", () => {
  const areas = areasOf(answerOf([5, 12, 3, 3]));
  assert.deepEqual([1, 2, 3].map((extent) => indexOf(areas, extent)), [2, 3, 1]);
  assert.deepEqual([0, 1, 2, 3].map((index) => extentOf(areas, index)), [0, 3, 1, 2]);
  assert.deepEqual(roughAreas(answerOf([5, 12, 3, 3])), [80, 192, 48, 48]);
});

test("a step to a larger or smaller extent starts from the mask that is shown, and ends at the last one", () => {
  const areas = [50, 120, 30, 80];
  assert.deepEqual([1, 2, 3].map((index) => nextExtent(areas, index, 1)), [3, 2, 3]);
  assert.deepEqual([1, 2, 3].map((index) => nextExtent(areas, index, -1)), [2, 1, 1]);
  assert.deepEqual([nextExtent(areas, 0, 1), nextExtent(areas, 0, -1)], [2, 1], "the single mask lies between two of them");
  assert.deepEqual([nextExtent([9, 1, 2, 3], 0, 1), nextExtent([0, 1, 2, 3], 0, -1)], [3, 1]);
});

test("areas are those of the photo, and of second looks where there are", () => {
  const [, large] = areasOf(answerOf([5, 12, 3, 3], 16));
  assert.ok(Math.abs(large / (1024 * 1024) - 12 / 16) < 0.02);
  const { lowRes } = answerOf([0, 0, 0, 16]);
  const closeup = { region: /** @type {any} */ ([512, 512, 1024, 1024]), inputHw: /** @type {any} */ ([64, 64]), lowRes, from: [-1, 3, -1, -1], goesOn: false };
  const areas = areasOf({ ...answerOf([5, 12, 3, 3], 16), closeup });
  assert.equal(areas[1], 512 * 512, "all of the region, nothing outside");
});
