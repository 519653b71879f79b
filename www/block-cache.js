// The block cache, a folder in the browser's origin private file system. It contains IPFS blocks (one file for each),
// the files of the model, and a file that keeps a computed gradient until the gradient is accepted.
//
// The engine checks the hash of everything that it reads from the cache.

/** @import { BlockCache } from "./r3mes_www.js" */

const FOLDER = "blocks";
/** The file that keeps the gradient that was computed last, so that it can still be submitted after a failure. */
const WORK_FILE = "work.car";
/** The maximum size of the cache in bytes. When the cache exceeds it, the oldest files are removed. */
const MAX_BYTES = 512e6;

/**
 * Opens the cache. If the browser has no origin private file system, or denies access to it, the cache stays empty and
 * nothing is stored.
 * @returns {Promise<BlockCache>}
 */
export async function openBlockCache() {
  const folder = await openFolder();
  if (!folder) return { get: async () => undefined, put: async () => {} };
  let bytesStored = await cacheSize();
  return {
    async get(name) {
      try {
        const file = await (await folder.getFileHandle(name)).getFile();
        return new Uint8Array(await file.arrayBuffer());
      } catch {
        return undefined;
      }
    },
    async put(name, bytes) {
      const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
      await stream.write(/** @type {Uint8Array<ArrayBuffer>} */ (bytes));
      await stream.close();
      bytesStored += bytes.length;
      if (bytesStored > MAX_BYTES) bytesStored = await evictOldFiles(folder);
    },
  };
}

/** Returns the size of the cache in bytes. */
export async function cacheSize() {
  const folder = await openFolder();
  if (!folder) return 0;
  return totalSize(await listFiles(folder));
}

/**
 * Removes everything from the cache.
 * @param {{ keepWork?: boolean }} [options] `keepWork`: whether the gradient that was computed last is kept
 */
export async function clearCache({ keepWork = false } = {}) {
  const folder = await openFolder();
  if (!folder) return;
  for (const { name } of await listFiles(folder)) {
    if (!keepWork || name !== WORK_FILE) await folder.removeEntry(name).catch(() => {});
  }
}

/**
 * Returns the names of the files to remove so that the remaining files have at most `maxBytes` bytes in total. The
 * oldest files are removed first.
 * @param {{ name: string, size: number, lastModified: number }[]} files
 * @param {number} maxBytes
 */
export function filesToEvict(files, maxBytes) {
  let remaining = totalSize(files);
  const evicted = [];
  for (const { name, size } of files.toSorted((a, b) => a.lastModified - b.lastModified)) {
    if (remaining <= maxBytes) break;
    evicted.push(name);
    remaining -= size;
  }
  return evicted;
}

/** Returns the folder that contains the cache, or `undefined` if the browser provides no file system. */
async function openFolder() {
  try {
    const root = await navigator.storage?.getDirectory();
    return await root?.getDirectoryHandle(FOLDER, { create: true });
  } catch {
    return undefined;
  }
}

/**
 * Returns the files in a folder, with their sizes and modification times; skips subfolders.
 * @param {FileSystemDirectoryHandle} folder
 */
async function listFiles(folder) {
  const files = [];
  for await (const handle of folder.values()) {
    if (handle instanceof FileSystemFileHandle) files.push(await handle.getFile());
  }
  return files;
}

/** @param {{ size: number }[]} files */
const totalSize = (files) => files.reduce((sum, { size }) => sum + size, 0);

/**
 * Removes the oldest files until the cache has at most half of its maximum size. Returns the remaining size in bytes.
 * @param {FileSystemDirectoryHandle} folder
 */
async function evictOldFiles(folder) {
  for (const name of filesToEvict(await listFiles(folder), MAX_BYTES / 2)) {
    await folder.removeEntry(name).catch(() => {});
  }
  return totalSize(await listFiles(folder));
}
