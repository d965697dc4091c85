/** Writing PNG: exact pixels at any size, where a canvas changes colours under transparency and has a largest size. */

const COLOUR_TYPES = { grey: 0, rgba: 6 };

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** @param {Uint8Array} bytes */
function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/**
 * @param {string} type
 * @param {Uint8Array} data
 */
function chunk(type, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc(bytes.subarray(4, data.length + 8)));
  return bytes;
}

/**
 * @param {number} width
 * @param {number} height
 * @param {"grey" | "rgba"} kind
 * @param {Uint8Array | Uint8ClampedArray | Uint16Array} pixels  grey: 8 bits, or 16 bits in a Uint16Array
 * @returns {Promise<Blob>}
 */
export async function toPng(width, height, kind, pixels) {
  const depth = pixels instanceof Uint16Array ? 16 : 8;
  const bytesPerPixel = (kind === "rgba" ? 4 : 1) * (depth / 8);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([depth, COLOUR_TYPES[kind], 0, 0, 0], 8);
  const lines = filtered(depth === 16 ? bigEndian(/** @type {Uint16Array} */ (pixels)) : pixels, width * bytesPerPixel, height);
  const packed = new Blob([lines]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(packed).arrayBuffer());
  const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  const parts = [signature, chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", new Uint8Array(0))];
  return new Blob(parts, { type: "image/png" });
}

/** @param {Uint16Array} pixels */
function bigEndian(pixels) {
  const bytes = new Uint8Array(pixels.length * 2);
  pixels.forEach((value, i) => {
    bytes[2 * i] = value >> 8;
    bytes[2 * i + 1] = value & 255;
  });
  return bytes;
}

/**
 * Rows as differences to the row above ("up"), which compress well for masks and photos.
 * @param {ArrayLike<number>} bytes
 * @param {number} stride
 * @param {number} height
 */
function filtered(bytes, stride, height) {
  const lines = new Uint8Array((stride + 1) * height);
  for (let y = 0; y < height; y++) {
    const to = y * (stride + 1);
    lines[to] = 2;
    for (let i = 0; i < stride; i++) {
      lines[to + 1 + i] = bytes[y * stride + i] - (y ? bytes[(y - 1) * stride + i] : 0);
    }
  }
  return lines;
}
