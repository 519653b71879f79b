// The cache: model and blocks in the origin's private file system, by name. The engine checks what it returns.

const FOLDER = "blocks";
/** Bytes that are kept; the oldest go first. */
const KEPT = 512e6;

/** Something with `get` and `put`; where a browser has no such file system, or forbids it, it keeps nothing. */
export async function openCache() {
  const folder = await open().catch(() => undefined);
  let size = await cacheSize();
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
      size += bytes.length;
      if (size > KEPT) size = await shrink(folder);
    },
  };
}

/** Bytes kept. */
export async function cacheSize() {
  try {
    return (await files(await open())).reduce((sum, { file }) => sum + file.size, 0);
  } catch {
    return 0;
  }
}

/** Forgets all of it. */
export async function clearCache() {
  const root = await navigator.storage?.getDirectory();
  await root?.removeEntry(FOLDER, { recursive: true }).catch(() => {});
}

async function open() {
  const root = await navigator.storage?.getDirectory();
  return root?.getDirectoryHandle(FOLDER, { create: true });
}

async function files(folder) {
  const found = [];
  for await (const [name, handle] of folder) found.push({ name, file: await handle.getFile() });
  return found;
}

/** Removes the oldest files until half is left; returns its size. */
async function shrink(folder) {
  const oldest = (await files(folder)).sort((a, b) => a.file.lastModified - b.file.lastModified);
  let size = oldest.reduce((sum, { file }) => sum + file.size, 0);
  for (const { name, file } of oldest) {
    if (size <= KEPT / 2) break;
    await folder.removeEntry(name).catch(() => {});
    size -= file.size;
  }
  return size;
}
