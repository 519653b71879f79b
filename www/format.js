// Functions that format amounts, sizes, losses, CIDs and errors for display.

/** Micro-units in one R3MES. */
export const MICRO_UNITS = 1_000_000;

/**
 * Returns an amount in R3MES, with at most 6 decimals, in the browser's language.
 * @param {number} microUnits
 */
export const formatCoins = (microUnits) =>
  `${(microUnits / MICRO_UNITS).toLocaleString(undefined, { maximumFractionDigits: 6 })} R3MES`;

/**
 * Returns a size in MB (10^6 bytes), with one decimal.
 * @param {number} bytes
 */
export const formatMegabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/**
 * Returns a loss in nats with 4 decimals, or the text `missing` if there is no loss.
 * @param {number | undefined} loss
 * @param {string} missing
 */
export const formatLoss = (loss, missing) => loss?.toFixed(4) ?? missing;

/**
 * Returns the first 6 and the last 6 characters of a CID.
 * @param {string} cid
 */
export const shortenCid = (cid) => `${cid.slice(0, 6)}…${cid.slice(-6)}`;

/**
 * Returns the message of a caught value, which need not be an `Error`; "" for `undefined`.
 * @param {unknown} error
 */
export const errorMessage = (error) =>
  String(/** @type {{ message?: unknown } | undefined} */ (error)?.message ?? error ?? "");
