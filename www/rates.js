// Mining rates: averages over the last minute, the last 15 minutes, and the whole session.

/**
 * Length of each averaging window in milliseconds, by its name in the page.
 * @type {Record<string, number>}
 */
export const WINDOWS = { "60 s": 60_000, "15 min": 900_000, session: Infinity };

/** Longest finite window in milliseconds. Tasks that are older count for the session only. */
const LONGEST_WINDOW = Math.max(...Object.values(WINDOWS).filter(Number.isFinite));

/** Counts accepted tasks and their tokens, and averages them over time. Times are in milliseconds. */
export class Rates {
  /** @type {number | undefined} */
  #sessionStart;
  /** @type {{ tokens: number, time: number }[]} */
  #recentTasks = [];
  #sessionTotals = { tokens: 0, tasks: 0 };

  /** Starts a session: all rates begin at zero. */
  begin(now = performance.now()) {
    this.#sessionStart = now;
    this.#recentTasks = [];
    this.#sessionTotals = { tokens: 0, tasks: 0 };
  }

  /**
   * Adds an accepted task.
   * @param {number} tokens the number of tokens of the task
   */
  add(tokens, now = performance.now()) {
    this.#sessionTotals.tokens += tokens;
    this.#sessionTotals.tasks += 1;
    this.#recentTasks.push({ tokens, time: now });
    this.#recentTasks = this.#recentTasks.filter(({ time }) => time >= now - LONGEST_WINDOW);
  }

  /**
   * Returns the averages over the last `window` milliseconds, or over the session if it is shorter. Pauses count as
   * time. Returns `undefined` before the first session.
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
