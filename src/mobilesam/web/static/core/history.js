/** Undo and redo over states that never change. */

/** @template T */
export class History {
  /** @param {T} first */
  constructor(first) {
    this.now = first;
    /** @type {T[]} */
    this.past = [];
    /** @type {T[]} */
    this.future = [];
  }

  /** @param {T} next  a new step of the user */
  push(next) {
    this.past.push(this.now);
    this.now = next;
    this.future = [];
  }

  /**
   * Change all states that hold something, without a step of its own: a finer mask for one already shown.
   * @param {(state: T) => T} mend
   */
  mend(mend) {
    this.now = mend(this.now);
    this.past = this.past.map(mend);
    this.future = this.future.map(mend);
  }

  undo() {
    const before = this.past.pop();
    if (before === undefined) return false;
    this.future.push(this.now);
    this.now = before;
    return true;
  }

  redo() {
    const after = this.future.pop();
    if (after === undefined) return false;
    this.past.push(this.now);
    this.now = after;
    return true;
  }
}
