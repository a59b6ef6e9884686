// The time of a session, which never goes back.

export class Clock {
  #given;
  /** The latest time, and when that was by the clock that no one sets. */
  #latest = { at: -Infinity, passed: 0 };

  constructor(given) {
    this.#given = given;
  }

  /** The time in seconds: that of the clock, or the latest and what has passed since if a clock that was set back says less. */
  now() {
    const passed = performance.now();
    const at = Math.max(Number(this.#given()), this.#latest.at + passed - this.#latest.passed);
    // What is no time is for the module to refuse.
    if (Number.isFinite(at)) this.#latest = { at, passed };
    return Math.floor(at / 1000);
  }
}
