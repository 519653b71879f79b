// The cache: blocks by their CID in the origin's private file system. The engine checks what it returns.

const FOLDER = "blocks";

/** Something with `get` and `put`; where a browser has no such file system, or forbids it, it keeps nothing. */
export async function openCache() {
  const folder = await open();
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
      await stream.write(bytes);
      await stream.close();
    },
  };
}

/** Bytes kept. */
export async function cacheSize() {
  let bytes = 0;
  try {
    for await (const file of (await open()).values()) bytes += (await file.getFile()).size;
  } catch {
    // nothing is kept where nothing can be
  }
  return bytes;
}

/** Forgets all blocks. */
export async function clearCache() {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(FOLDER, { recursive: true }).catch(() => {});
}

async function open() {
  const root = await navigator.storage?.getDirectory();
  return root?.getDirectoryHandle(FOLDER, { create: true });
}
