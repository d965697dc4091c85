/** COCO's compressed run lengths. */

/**
 * @param {import("./types.js").Bits} mask
 * @returns {{size: [number, number], counts: string}}
 */
export function toRle({ width, height, data }) {
  const runs = [];
  let [value, length] = [0, 0];
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const pixel = data[y * width + x];
      if (pixel === value) {
        length++;
      } else {
        runs.push(length);
        [value, length] = [pixel, 1];
      }
    }
  }
  runs.push(length);
  return { size: [height, width], counts: compress(runs) };
}

/**
 * Runs as characters of five bits and whether more follow; from the fourth on, the difference to the one two before.
 * @param {number[]} runs
 */
function compress(runs) {
  let text = "";
  runs.forEach((run, i) => {
    let rest = i > 2 ? run - runs[i - 2] : run;
    for (let more = true; more; ) {
      let digit = rest & 31;
      rest >>= 5;
      more = digit & 16 ? rest !== -1 : rest !== 0;
      if (more) digit |= 32;
      text += String.fromCharCode(digit + 48);
    }
  });
  return text;
}
