/** Where photos are encoded: in this browser, or by the service that this page belongs to. */

const PATIENCE = 8000; // milliseconds for one answer
const PAUSE = 10_000; // milliseconds without trying, after the service did not answer
const TRIALS = 2; // of each road before the faster one is known; the first is slower than those to come

/** @typedef {"auto" | "here" | "service"} Place */
/** @typedef {import("../core/types.js").Hw} Hw */

export class Roads {
  /** @param {() => number} [clock]  milliseconds */
  constructor(clock = () => performance.now()) {
    this.clock = clock;
    this.address = "";
    /** @type {Place} */
    this.mode = "auto";
    /** @type {{here: number[], service: number[]}} */
    this.paces = { here: [], service: [] }; // milliseconds per pixel
    this.pausedUntil = 0;
    this.isSent = false;
    /** @type {"" | "here" | "service"} */
    this.last = "";
    this.tell = () => {};
  }

  /** Forget what was sent, for another photo. */
  startPhoto() {
    this.isSent = false;
    this.last = "";
    this.tell();
  }

  /** @returns {"here" | "service"} */
  choose() {
    if (!this.address || this.mode === "here" || this.clock() < this.pausedUntil || globalThis.navigator?.onLine === false) return "here";
    if (this.mode === "service") return "service";
    const { here, service } = this.paces;
    if (service.length < TRIALS && service.length <= here.length) return "service";
    if (here.length < TRIALS) return "here";
    return Math.min(...service) < Math.min(...here) ? "service" : "here";
  }

  /**
   * Encode planes by the road of choice; where the service fails, here.
   * @param {Float32Array} planes  (3, h, w), whole values 0-255
   * @param {Hw} hw
   * @param {boolean} isSquare  whether they are to be padded to a square
   * @param {() => Promise<any>} encodeHere
   * @param {(values: Float32Array) => any} received  makes a tensor of the service's embedding
   */
  async encode(planes, hw, isSquare, encodeHere, received) {
    if (this.choose() === "service") {
      const values = await this.timed("service", hw, () => this.ask(planes, hw, isSquare)).catch((error) => this.pause(error));
      if (values) return received(values);
    }
    return this.timed("here", hw, encodeHere);
  }

  /**
   * @template T
   * @param {"here" | "service"} road
   * @param {Hw} hw
   * @param {() => Promise<T>} work
   */
  async timed(road, [h, w], work) {
    const start = this.clock();
    const result = await work();
    if (this.address) this.paces[road] = [...this.paces[road], (this.clock() - start) / (h * w)].slice(-4);
    this.last = road;
    this.tell();
    return result;
  }

  /** @param {unknown} error */
  pause(error) {
    this.pausedUntil = this.clock() + PAUSE;
    console.info(`The service did not encode the photo (${error instanceof Error ? error.message : error}).`);
    return null;
  }

  /**
   * @param {Float32Array} planes
   * @param {Hw} hw
   * @param {boolean} isSquare
   */
  async ask(planes, [h, w], isSquare) {
    this.isSent = true; // from here on it may have been, whatever comes of it
    this.tell();
    const response = await fetch(`${this.address}?height=${h}&width=${w}${isSquare ? "&square=true" : ""}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: Uint8Array.from(planes),
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (!response.ok) throw new Error(`status ${response.status}`);
    return new Float32Array(await response.arrayBuffer());
  }
}
