// The block cache: the model and IPFS blocks, each in a file of the browser's origin private file system.
//
// The engine checks the hash of everything that it reads from the cache.

/** @import { BlockCache } from "./r3mes_www.js" */

const FOLDER = "blocks";
/** Largest size of the cache in bytes. */
const MAX_BYTES = 512e6;

/**
 * Opens the cache. If the browser has no origin private file system, or denies access to it, the cache stays empty.
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

/** Removes everything from the cache. */
export async function clearCache() {
  const root = await navigator.storage?.getDirectory();
  await root?.removeEntry(FOLDER, { recursive: true }).catch(() => {});
}

/**
 * Returns the names of the files to remove, oldest first, so that at most `maxBytes` remain.
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

/** Returns the folder of the cache, or `undefined` if the browser does not provide one. */
async function openFolder() {
  try {
    const root = await navigator.storage?.getDirectory();
    return await root?.getDirectoryHandle(FOLDER, { create: true });
  } catch {
    return undefined;
  }
}

/**
 * Returns the files of a folder.
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
 * Removes the oldest files until at most half of `MAX_BYTES` remains; returns the remaining size in bytes.
 * @param {FileSystemDirectoryHandle} folder
 */
async function evictOldFiles(folder) {
  for (const name of filesToEvict(await listFiles(folder), MAX_BYTES / 2)) {
    await folder.removeEntry(name).catch(() => {});
  }
  return totalSize(await listFiles(folder));
}
