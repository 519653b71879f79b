// Tests that kubo-rpc-client, the client that JavaScript programs use for a Kubo daemon, works with a node's block
// store.

import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "kubo-rpc-client";
import { startNode } from "./node.mjs";

/** @param {AsyncIterable<any>} items */
async function collect(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

test("kubo-rpc-client stores, pins and reads blocks and files", async (t) => {
  const node = await startNode({ page: "/nonexistent" });
  t.after(node.stop);
  const url = `${node.url}/api/v0`;
  const stranger = create({ url });
  const owner = create({ url, headers: { authorization: `Bearer ${await node.ownerToken()}` } });

  const { agentVersion, id } = await stranger.id();
  assert.match(agentVersion, /^r3mes-wgpu\//);
  assert.ok(id.toString().length > 40);

  const hello = new TextEncoder().encode("hello world");
  const added = await stranger.add(hello);
  assert.equal(added.cid.toString(), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD");
  assert.deepEqual(Buffer.concat(await collect(stranger.cat(added.cid))), Buffer.from(hello));
  const pins = async () => (await collect(owner.pin.ls({ type: "recursive" }))).map(({ cid }) => cid.toString());
  assert.ok(!(await pins()).includes(added.cid.toString()), "what others add is not pinned");
  await assert.rejects(stranger.pin.add(added.cid), /only the owner of this node may pin/);
  await owner.add(hello);
  assert.ok((await pins()).includes(added.cid.toString()));
  assert.equal((await owner.pin.rm(added.cid)).toString(), added.cid.toString());

  const version1 = await stranger.add(hello, { cidVersion: 1 });
  assert.equal(version1.cid.toString(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");

  const empty = new Uint8Array([0x12, 0]);
  const codecs = [];
  for (const format of ["raw", "dag-pb", "dag-cbor"]) {
    const bytes = format === "dag-cbor" ? new Uint8Array([0xa0]) : empty;
    const cid = await stranger.block.put(bytes, { format });
    codecs.push(cid.code);
    assert.deepEqual(Buffer.from(await stranger.block.get(cid)), Buffer.from(bytes));
    assert.equal((await stranger.block.stat(cid)).size, bytes.length);
  }
  assert.deepEqual(codecs, [0x55, 0x70, 0x71]);

  const car = await collect(stranger.dag.export(added.cid));
  const [imported] = await collect(owner.dag.import(car));
  assert.equal(imported?.root.cid.toString(), added.cid.toString());
  assert.equal(imported?.root.pinErrorMsg, "");
});
