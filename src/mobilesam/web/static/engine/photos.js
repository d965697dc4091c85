/** The photo in use, and the one that may take its place. */

/** @typedef {import("../core/types.js").Pixels} Pixels */

export class Photos {
  constructor() {
    /** @type {Pixels | null} */
    this.used = null;
    /** @type {Pixels | null} */
    this.candidate = null; // opened, but the user may stay with the photo before
    this.newest = 0; // the turn of the photo that was asked for last
  }

  /**
   * Open a photo; it becomes the candidate unless another was asked for meanwhile, for they may end in any order.
   * @template {{pixels: Pixels}} Opened
   * @param {number} turn  a number that grows with each photo
   * @param {() => Promise<Opened>} decode
   */
  async open(turn, decode) {
    this.newest = turn;
    this.candidate = null;
    const opened = await decode();
    if (turn === this.newest) this.candidate = opened.pixels;
    return opened;
  }

  /**
   * Use the candidate or drop it; nothing happens if it is not the photo of that turn.
   * @param {number} turn
   * @param {boolean} isWanted
   */
  choose(turn, isWanted) {
    if (turn !== this.newest) return;
    if (isWanted && this.candidate) this.used = this.candidate;
    this.candidate = null;
  }
}
