/** Where the photo lies on the screen: scale and offset, in CSS pixels. */

const MOST = 32; // screen pixels per pixel of the photo
const MARGIN = 24;

/** @typedef {{scale: number, x: number, y: number}} View  screen = photo * scale + (x, y) */
/** @typedef {{width: number, height: number}} Size */

/**
 * The whole photo, in the middle.
 * @param {Size} photo
 * @param {Size} screen
 * @returns {View}
 */
export function fit(photo, screen) {
  const margin = Math.min(MARGIN, screen.width * 0.03);
  const scale = Math.min((screen.width - 2 * margin) / photo.width, (screen.height - 2 * margin) / photo.height);
  const used = Math.max(scale, 0.001);
  return { scale: used, x: (screen.width - photo.width * used) / 2, y: (screen.height - photo.height * used) / 2 };
}

/**
 * Enlarge around a place of the screen.
 * @param {View} view
 * @param {number} factor
 * @param {[number, number]} at
 * @param {Size} photo
 * @param {Size} screen
 * @returns {View}
 */
export function zoomed(view, factor, [x, y], photo, screen) {
  const least = fit(photo, screen).scale * 0.8;
  const scale = Math.min(Math.max(view.scale * factor, least), Math.max(MOST, least));
  const ratio = scale / view.scale;
  return kept({ scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio }, photo, screen);
}

/**
 * Moved, but never so far that the photo leaves the screen.
 * @param {View} view
 * @param {Size} photo
 * @param {Size} screen
 * @returns {View}
 */
export function kept(view, photo, screen) {
  const hold = (/** @type {number} */ at, /** @type {number} */ length, /** @type {number} */ room) =>
    Math.min(Math.max(at, Math.min(room / 2, room - length) - room / 2), Math.max(room / 2, room - length / 2));
  return {
    scale: view.scale,
    x: hold(view.x, photo.width * view.scale, screen.width),
    y: hold(view.y, photo.height * view.scale, screen.height),
  };
}

/**
 * @param {View} view
 * @param {[number, number]} at  on the screen
 * @returns {[number, number]}
 */
export function toPhoto(view, [x, y]) {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}
