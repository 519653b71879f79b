// Stores the visitor's settings and submissions: in this browser's IndexedDB, or in memory if the browser lets the page
// store nothing. Browsers do so for frames of other sites, and for sites whose data the visitor blocks.

import { Database } from "./database.js";
import { Memory } from "./memory.js";

/** The largest number of stored submissions. Beyond it, the oldest ones are deleted. */
const MAX_SUBMISSIONS = 1000;

/**
 * The settings of the visitor.
 *
 * @typedef {object} Settings
 * @property {number} consent when consent was given, in milliseconds since 1970; 0 if the visitor has declined
 * @property {Uint8Array<ArrayBuffer>} secret the 32-byte secret of this browser's session key
 * @property {string} address the address of this browser's session key
 * @property {boolean} backedUp whether the visitor has saved a copy of the session key
 * @property {string} payout the payout address that the visitor has entered
 * @property {string} granter the address of the account that has granted a session to this browser's session key
 * @property {number} intensity the share of the time during which to compute, from 0.05 to 1
 * @property {string} backend "auto", "gpu" or "cpu"
 * @property {boolean} battery whether to pause on battery power
 * @property {boolean} hidden whether to pause while the tab is hidden
 * @property {boolean} frames whether to pause while the page draws too slowly
 * @property {boolean} user whether to pause while someone uses the page
 * @property {number} cap the number of minutes after which mining stops, or 0 for no limit
 * @property {boolean} awake whether to keep the screen awake
 */

/**
 * A computed gradient that the miner has submitted or is about to submit, and whether it was accepted or rejected.
 *
 * @typedef {object} Submission
 * @property {string} cid the CID of the artifact, which contains the gradient
 * @property {"pending" | "accepted" | "rejected"} status
 * @property {number} time the time of the latest change of the status, in milliseconds since 1970
 * @property {string} [task] the CID of the task
 * @property {string} [receipt] the receipt as JSON
 * @property {string} [transaction] the hash of the transaction that submitted the gradient
 * @property {string} [reason] why the gradient was rejected
 * @property {string} [gradientDigest] the gradient root, a hash that identifies the gradient, in hexadecimal
 * @property {number} [loss] the mean loss in nats per token; missing for a void task
 * @property {number} [reward] the reward for the task in micro-units
 * @property {number} [balance] the balance of the payout address after the task was accepted, in micro-units
 * @property {number} [escrow] the miner's rewards in escrow after the task was accepted, in micro-units
 */

/**
 * A place that stores settings and submissions. The functions of this module with the same names document the methods.
 *
 * @typedef {object} Store
 * @property {<Name extends keyof Settings>(name: Name) => Promise<Settings[Name] | undefined>} loadSetting
 * @property {<Name extends keyof Settings>(name: Name, value: Settings[Name]) => Promise<void>} saveSetting
 * @property {(name: keyof Settings) => Promise<void>} deleteSetting
 * @property {(cid: string) => Promise<Submission | undefined>} loadSubmission
 * @property {(submission: Submission, max: number) => Promise<void>} saveSubmission `max`: the number of submissions
 *   beyond which the oldest ones are deleted
 * @property {(limit: number) => Promise<Submission[]>} listSubmissions
 */

/** @type {Promise<Store> | undefined} */
let opened;

/** Returns the browser's database, or memory if the browser denies access to it. */
function openStore() {
  opened ??= Database.open().catch(() => new Memory());
  return opened;
}

/** Returns whether this browser keeps what is stored. If not, everything is forgotten when the page is closed. */
export const isKept = async () => (await openStore()) instanceof Database;

/**
 * Returns a stored setting, or `undefined` if the setting is not stored.
 * @template {keyof Settings} Name
 * @param {Name} name
 * @returns {Promise<Settings[Name] | undefined>}
 */
export const loadSetting = async (name) => (await openStore()).loadSetting(name);

/**
 * Stores a setting.
 * @template {keyof Settings} Name
 * @param {Name} name
 * @param {Settings[Name]} value
 */
export const saveSetting = async (name, value) => (await openStore()).saveSetting(name, value);

/**
 * Deletes a setting.
 * @param {keyof Settings} name
 */
export const deleteSetting = async (name) => (await openStore()).deleteSetting(name);

/**
 * Returns the 32-byte secret of this browser's session key. If none is stored yet, creates a random one and stores it.
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function sessionSecret() {
  const stored = await loadSetting("secret");
  if (stored) return stored;
  const created = crypto.getRandomValues(new Uint8Array(32));
  await saveSetting("secret", created);
  return created;
}

/**
 * Returns a stored submission, or `undefined` if there is none with this CID.
 * @param {string} cid the CID of the artifact
 */
export const loadSubmission = async (cid) => (await openStore()).loadSubmission(cid);

/**
 * Stores a submission. It replaces the stored submission with the same CID, if there is one. If more than 1000 are
 * stored afterwards, the oldest ones are deleted.
 * @param {Submission} submission
 */
export const saveSubmission = async (submission) => (await openStore()).saveSubmission(submission, MAX_SUBMISSIONS);

/**
 * Returns the stored submissions, latest first.
 * @param {number} [limit] the largest number of submissions to return; by default, all are returned
 */
export const listSubmissions = async (limit = Infinity) => (await openStore()).listSubmissions(limit);
