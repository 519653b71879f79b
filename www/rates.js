// Rates: what was done in the last minute, the last quarter of an hour, and since the session began.

export const WINDOWS = { "60 s": 60_000, "15 min": 900_000, session: Infinity };

export class Rates {
  #since;
  #done = [];
  #session = { tokens: 0, tasks: 0 };

  /** A session begins. */
  begin(now = performance.now()) {
    this.#since = now;
    this.#done = [];
    this.#session = { tokens: 0, tasks: 0 };
  }

  /** A task was accepted. */
  add(tokens, now = performance.now()) {
    this.#session.tokens += tokens;
    this.#session.tasks += 1;
    this.#done.push({ tokens, now });
    while (this.#done[0].now < now - WINDOWS["15 min"]) this.#done.shift();
  }

  /** Of the last `window` milliseconds, or of as many as there were: rests and pauses count as time. */
  over(window, now = performance.now()) {
    if (this.#since === undefined) return undefined;
    const span = Math.min(window, now - this.#since);
    if (span <= 0) return undefined;
    const recent = this.#done.filter((task) => task.now >= now - span);
    const { tokens, tasks } =
      window === Infinity
        ? this.#session
        : { tokens: recent.reduce((sum, task) => sum + task.tokens, 0), tasks: recent.length };
    return { tokensPerSecond: (1000 * tokens) / span, tasksPerMinute: (60_000 * tasks) / span };
  }
}
