/** Opening photos: upright pixels as the library opens them, and a smaller picture to show. */

const STRIP = 1024; // rows read at once: phones refuse canvases as large as their photos
const SHOWN_SIDE = 2560; // pixels of the picture on screen
export const MOST_PIXELS = 100_000_000;

/**
 * Open a photo, turned as its EXIF orientation says, transparency laid on white.
 * @param {Blob} blob
 * @returns {Promise<{pixels: import("../core/types.js").Pixels, shown: ImageBitmap}>}
 */
export async function openPhoto(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    if (await isHeic(blob)) throw new Error("This browser cannot read HEIC photos; Safari can. Save the photo as JPEG, then open that.");
    throw new Error("This file is not a photo that this browser can read. JPEG, PNG, WebP and AVIF work everywhere.");
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    bitmap.close();
    throw new Error(`This photo has ${Math.round((width * height) / 1e6)} megapixels; the page opens up to 100.`);
  }
  const pixels = { width, height, data: readPixels(bitmap) };
  const scale = Math.min(1, SHOWN_SIDE / Math.max(width, height));
  const shown =
    scale < 1
      ? await createImageBitmap(bitmap, {
          resizeWidth: Math.round(width * scale),
          resizeHeight: Math.round(height * scale),
          resizeQuality: "high",
        })
      : bitmap;
  if (shown !== bitmap) bitmap.close();
  return { pixels, shown };
}

/**
 * Whether a file says of itself that it is a HEIC photo.
 * @param {Blob} blob
 */
async function isHeic(blob) {
  const head = new TextDecoder("latin1").decode(await blob.slice(4, 12).arrayBuffer());
  return /^ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)/.test(head);
}

/**
 * RGBA of a bitmap, read in strips.
 * @param {ImageBitmap} bitmap
 */
function readPixels(bitmap) {
  const { width, height } = bitmap;
  const data = new Uint8ClampedArray(width * height * 4);
  const canvas = new OffscreenCanvas(width, Math.min(STRIP, height));
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    data.set(context.getImageData(0, 0, width, rows).data, top * width * 4);
  }
  return data;
}
