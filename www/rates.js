// Mining rates (tokens per second and tasks per minute), averaged over the last minute, over the last 15 minutes, and
// over the whole session.

/**
 * The periods over which rates are averaged: for each label on the page, the length of the period in milliseconds.
 * @type {Record<string, number>}
 */
export const WINDOWS = { "60 s": 60_000, "15 min": 900_000, session: Infinity };

/** The longest period apart from the session, in milliseconds. Older tasks count only for the session. */
const LONGEST_WINDOW = Math.max(...Object.values(WINDOWS).filter(Number.isFinite));

/** Counts accepted tasks and their tokens, and computes rates from them. All times are in milliseconds. */
export class Rates {
  /** @type {number | undefined} */
  #sessionStart;
  /** @type {{ tokens: number, time: number }[]} */
  #recentTasks = [];
  #sessionTotals = { tokens: 0, tasks: 0 };

  /** Starts a session. All earlier counts are reset to zero. */
  begin(now = performance.now()) {
    this.#sessionStart = now;
    this.#recentTasks = [];
    this.#sessionTotals = { tokens: 0, tasks: 0 };
  }

  /**
   * Counts an accepted task.
   * @param {number} tokens the number of tokens in the task's chunk
   */
  add(tokens, now = performance.now()) {
    this.#sessionTotals.tokens += tokens;
    this.#sessionTotals.tasks += 1;
    this.#recentTasks.push({ tokens, time: now });
    this.#recentTasks = this.#recentTasks.filter(({ time }) => time >= now - LONGEST_WINDOW);
  }

  /**
   * Returns the average rates over the last `window` milliseconds, or over the whole session if the session is shorter.
   * The time of pauses is included. Returns `undefined` before the first session.
   * @param {number} window
   */
  average(window, now = performance.now()) {
    if (this.#sessionStart === undefined) return undefined;
    const span = Math.min(window, now - this.#sessionStart);
    if (span <= 0) return undefined;
    const { tokens, tasks } = window === Infinity ? this.#sessionTotals : this.#totalsSince(now - span);
    return { tokensPerSecond: (1000 * tokens) / span, tasksPerMinute: (60_000 * tasks) / span };
  }

  /** @param {number} start */
  #totalsSince(start) {
    const tasks = this.#recentTasks.filter(({ time }) => time >= start);
    return { tokens: tasks.reduce((sum, { tokens }) => sum + tokens, 0), tasks: tasks.length };
  }
}
