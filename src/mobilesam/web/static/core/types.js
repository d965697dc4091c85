/**
 * Types that the page, its worker and the computations share.
 *
 * @typedef {[number, number]} Hw  height and width in pixels
 * @typedef {[number, number, number, number]} Box  x0, y0, x1, y1 in pixels of the photo, right and bottom exclusive
 *
 * @typedef {object} Prompt  what the user asks, in pixels of the photo
 * @property {[number, number][]} points  (x, y)
 * @property {number[]} labels  one per point: 1 belongs to the object, 0 does not
 * @property {Box | null} box
 *
 * @typedef {object} Prior  an earlier answer to refine
 * @property {number} side  of the square input that it was made at
 * @property {Float32Array} logits  (L, L)
 *
 * @typedef {object} Closeup  masks of a region of the photo that was encoded once more by itself
 * @property {Box} region
 * @property {Hw} inputHw  size of the resized region within the square input
 * @property {Float32Array} lowRes  (4, L, L)
 * @property {number[]} from  for each mask of the answer, the mask of `lowRes` that replaces it, or -1
 * @property {boolean} goesOn  whether the object may extend beyond the region
 *
 * @typedef {object} Enclosure  a prompt's box, outside of which logits are lowered
 * @property {Box} box
 * @property {number} penalty
 *
 * @typedef {object} Answer  the decoder's answer to one prompt
 * @property {number} side  of the square input
 * @property {Hw} inputHw  size of the resized photo within it
 * @property {Hw} photoHw
 * @property {Float32Array} lowRes  (K, L, L) logits with L = side / 4; K is 4, or 1 for a mask of "everything"
 * @property {Float32Array} scores  (K,) predicted IoU
 * @property {Closeup | null} closeup
 * @property {Enclosure | null} enclosure
 *
 * @typedef {object} Outline  a mask's outline with fractions of pixels
 * @property {Float32Array} points  (x, y) pairs in pixels of the photo, loop after loop
 * @property {Uint32Array} lengths  number of pairs of each loop
 *
 * @typedef {object} Pixels  an opened photo
 * @property {number} width
 * @property {number} height
 * @property {Uint8ClampedArray} data  RGBA, rows from the top
 *
 * @typedef {object} Bits  a mask at the photo's size
 * @property {number} width
 * @property {number} height
 * @property {Uint8Array} data  1 on the object, else 0
 *
 * @typedef {object} Named  a mask to write to a file
 * @property {string} name
 * @property {string} colour  #rrggbb
 * @property {number} score
 * @property {Bits} mask
 */
export {};
