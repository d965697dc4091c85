/** Which photo the model looks at, while several are opened side by side. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Photos } from "../../src/mobilesam/web/static/engine/photos.js";

/** A photo of that width, and what ends its decoding. @param {number} width */
function slow(width) {
  let end = () => {};
  const opened = { pixels: { width, height: 1, data: new Uint8ClampedArray(4 * width) } };
  const decoding = new Promise((resolve) => (end = () => resolve(opened)));
  return { decode: () => /** @type {Promise<typeof opened>} */ (decoding), end: () => end() };
}

test("the photo that was asked for last is used, in whichever order they are decoded", async () => {
  for (const order of [[0, 1], [1, 0]]) {
    const photos = new Photos();
    const both = [slow(1), slow(2)];
    const opened = both.map((one, i) => photos.open(i + 1, one.decode));
    for (const i of order) {
      both[i].end();
      await opened[i];
    }
    photos.choose(2, true);
    assert.equal(photos.used?.width, 2, `decoded in the order ${order}`);
  }
});

test("an answer about a photo that gave way to another changes nothing", async () => {
  const photos = new Photos();
  const [first, second] = [slow(1), slow(2)];
  first.end();
  await photos.open(1, first.decode);
  const opening = photos.open(2, second.decode);
  photos.choose(1, true);
  second.end();
  await opening;
  photos.choose(1, false);
  assert.deepEqual([photos.used], [null]);
  photos.choose(2, true);
  assert.equal(photos.used?.width, 2);
});

test("a photo that is refused, or cannot be opened, leaves the one before in use", async () => {
  const photos = new Photos();
  const [first, second] = [slow(1), slow(2)];
  first.end();
  second.end();
  await photos.open(1, first.decode);
  photos.choose(1, true);
  await photos.open(2, second.decode);
  photos.choose(2, false);
  await assert.rejects(photos.open(3, () => Promise.reject(new Error("no photo"))));
  photos.choose(3, true);
  assert.equal(photos.used?.width, 1);
});
