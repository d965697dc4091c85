/** Where a photo is encoded. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Roads } from "../../src/mobilesam/web/static/engine/roads.js";

const PLANES = new Float32Array(3);

/**
 * Roads in counted time; `costs` are milliseconds of each road, Infinity where the service fails.
 * @param {{here: number, service: number}} costs
 */
function make(costs) {
  let now = 1;
  const roads = new Roads(() => now);
  roads.address = "https://example.org/v1/encode";
  roads.ask = async () => {
    roads.isSent = true;
    if (costs.service === Infinity) throw new Error("status 503");
    now += costs.service;
    return Float32Array.of(2);
  };
  const here = async () => {
    now += costs.here;
    return "here";
  };
  const encode = () => roads.encode(PLANES, [1, 1], false, here, () => "service");
  return { roads, encode, wait: (/** @type {number} */ ms) => (now += ms) };
}

/** @param {() => Promise<string>} encode @param {number} count */
async function several(encode, count) {
  const found = [];
  for (let i = 0; i < count; i++) found.push(await encode());
  return found;
}

test("each road is tried twice, then the faster one is taken", async () => {
  assert.deepEqual(await several(make({ here: 100, service: 30 }).encode, 6), ["service", "here", "service", "here", "service", "service"]);
  assert.deepEqual(await several(make({ here: 20, service: 30 }).encode, 6), ["service", "here", "service", "here", "here", "here"]);
});

test("without a service, or where the user says so, nothing is sent", async () => {
  const alone = make({ here: 100, service: 1 });
  alone.roads.address = "";
  assert.deepEqual(await several(alone.encode, 2), ["here", "here"]);
  const kept = make({ here: 100, service: 1 });
  kept.roads.mode = "here";
  assert.deepEqual(await several(kept.encode, 2), ["here", "here"]);
  assert.equal(alone.roads.isSent || kept.roads.isSent, false);
});

test("a service that fails is left alone for a while, and asked again later", async () => {
  const costs = { here: 100, service: Infinity };
  const { roads, encode, wait } = make(costs);
  roads.mode = "service";
  assert.deepEqual(await several(encode, 2), ["here", "here"]);
  assert.equal(roads.isSent, true, "it may have received it");
  costs.service = 1;
  wait(20_000);
  assert.equal(await encode(), "service");
});

test("what was sent is forgotten with the photo", async () => {
  const { roads, encode } = make({ here: 100, service: 1 });
  await encode();
  assert.equal(roads.isSent, true);
  roads.startPhoto();
  assert.equal(roads.isSent, false);
});
