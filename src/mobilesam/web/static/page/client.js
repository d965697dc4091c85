/** The worker as functions that give promises. */

/** @typedef {(stage: string, data: any) => void} Report */

export class Client {
  constructor() {
    this.worker = new Worker(new URL("../engine/worker.js", import.meta.url), { type: "module" });
    this.last = 0;
    /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void, report: Report}>} */
    this.waiting = new Map();
    this.noticed = /** @type {(notice: any) => void} */ (() => {});
    this.worker.onmessage = ({ data }) => (data.notice ? this.noticed(data.notice) : this.receive(data));
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.fail(new Error("The page could not start its model. Reload the page, or try a newer browser."));
    };
  }

  /** @param {any} data */
  receive({ id, stage, result, error, ...more }) {
    const call = this.waiting.get(id);
    if (!call) return;
    if (stage) return call.report(stage, more);
    this.waiting.delete(id);
    if (error) call.reject(new Error(error));
    else call.resolve(result);
  }

  /** @param {Error} error */
  fail(error) {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  /**
   * @param {string} task
   * @param {any} wish
   * @param {Report} [report]
   * @returns {Promise<any> & {id: number}}
   */
  call(task, wish = {}, report = () => {}) {
    const id = ++this.last;
    const promise = new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, report });
      this.worker.postMessage({ id, task, wish });
    });
    return Object.assign(promise, { id });
  }
}
