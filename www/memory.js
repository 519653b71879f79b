// The storage of settings and submissions in memory, for browsers that let the page store nothing. What it contains is
// forgotten when the page is closed.

/** @import { Settings, Submission, Store } from "./storage.js" */

/**
 * Settings and submissions in memory.
 * @implements {Store}
 */
export class Memory {
  /** @type {Partial<Settings>} */
  #settings = {};
  /** @type {Map<string, Submission>} maps the CID of an artifact to its submission */
  #submissions = new Map();

  /**
   * @template {keyof Settings} Name
   * @param {Name} name
   * @returns {Promise<Settings[Name] | undefined>}
   */
  async loadSetting(name) {
    return this.#settings[name];
  }

  /**
   * @template {keyof Settings} Name
   * @param {Name} name
   * @param {Settings[Name]} value
   */
  async saveSetting(name, value) {
    this.#settings[name] = value;
  }

  /** @param {keyof Settings} name */
  async deleteSetting(name) {
    delete this.#settings[name];
  }

  /** @param {string} cid */
  async loadSubmission(cid) {
    return this.#submissions.get(cid);
  }

  /**
   * @param {Submission} submission
   * @param {number} max
   */
  async saveSubmission(submission, max) {
    this.#submissions.set(submission.cid, submission);
    for (const { cid } of this.#latestFirst().slice(max)) this.#submissions.delete(cid);
  }

  /** @param {number} limit */
  async listSubmissions(limit) {
    return this.#latestFirst().slice(0, limit);
  }

  #latestFirst() {
    return Array.from(this.#submissions.values()).sort((a, b) => b.time - a.time);
  }
}
