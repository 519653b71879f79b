// Functions that format amounts, sizes, losses, CIDs and errors for display.

/** The number of micro-units in one R3MES, the network's coin. */
export const MICRO_UNITS = 1_000_000;

/**
 * Formats an amount in R3MES, with at most 6 decimals, in the number format of the browser's language.
 * @param {number} microUnits
 */
export const formatCoins = (microUnits) =>
  `${(microUnits / MICRO_UNITS).toLocaleString(undefined, { maximumFractionDigits: 6 })} R3MES`;

/**
 * Formats a size in MB (10^6 bytes), with one decimal.
 * @param {number} bytes
 */
export const formatMegabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/**
 * Formats a loss in nats with 4 decimals.
 * @param {number | undefined} loss
 * @param {string} missing the text to return if there is no loss
 */
export const formatLoss = (loss, missing) => loss?.toFixed(4) ?? missing;

/**
 * Shortens a CID to its first 6 and last 6 characters, with an ellipsis between them.
 * @param {string} cid
 */
export const shortenCid = (cid) => `${cid.slice(0, 6)}…${cid.slice(-6)}`;

/**
 * Returns the message of a value that was thrown. The value may be of any type, not only an `Error`; for `undefined`,
 * the message is empty.
 * @param {unknown} error
 */
export const errorMessage = (error) =>
  String(/** @type {{ message?: unknown } | undefined} */ (error)?.message ?? error ?? "");
