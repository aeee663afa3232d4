import assert from "node:assert/strict";
import {
  BTRFS_COPY_OFFSET,
  BTRFS_SUPERBLOCK_OFFSET,
  mendedBtrfsSuperblock,
} from "../../lib/formats/btrfs-superblock.ts";
import { crc32c } from "../../lib/formats/crc32c.ts";
import {
  LABEL_LENGTH,
  LABEL_OFFSET,
  mendedSuperblock,
  parseExtSuperblock,
  SUPERBLOCK_OFFSET,
} from "../../lib/formats/ext-superblock.ts";
import { PROBE_SIZE, probeFilesystem } from "../../lib/formats/filesystem-label.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { run } from "../lab/run.ts";

const UUID = "01234567-89ab-cdef-0123-456789abcdef";

/** The first bytes of a fresh filesystem, made by its own tool. */
async function start(size: number, command: string, ...args: string[]): Promise<Uint8Array> {
  await using scratch = scratchDirectory("mkfs");
  const path = `${scratch.path}/image`;
  using file = Deno.openSync(path, { createNew: true, write: true, read: true });
  file.truncateSync(size);
  await run(command, [...args, path]);
  const bytes = new Uint8Array(PROBE_SIZE);
  file.seekSync(0, Deno.SeekMode.Start);
  let at = 0;
  for (
    let count = file.readSync(bytes);
    count !== null && at < bytes.length;
    count = file.readSync(bytes.subarray(at))
  ) at += count;
  return bytes;
}

function superblock(bytes: Uint8Array) {
  return parseExtSuperblock(bytes.subarray(SUPERBLOCK_OFFSET));
}

Deno.test("the superblock of an ext2 image, and of an ext4 one with journal and checksums", async () => {
  const ext2 = await start(
    8 << 20,
    "mke2fs",
    "-q",
    "-F",
    "-t",
    "ext2",
    "-b",
    "4096",
    "-N",
    "256",
    "-L",
    "COS_ACTIVE",
    "-U",
    UUID,
  );
  assert.deepEqual(superblock(ext2), {
    label: "COS_ACTIVE",
    uuid: UUID,
    hasJournal: false,
    hasChecksum: false,
    torn: false,
    inodes: 256,
    blockSize: 4096,
    size: 8 << 20,
  });
  const ext4 = await start(
    16 << 20,
    "mkfs.ext4",
    "-q",
    "-b",
    "1024",
    "-O",
    "metadata_csum,64bit",
    "-L",
    "sixteen-letters!",
    "-U",
    UUID,
  );
  const { label, hasJournal, hasChecksum, torn, blockSize, size } = superblock(ext4) ?? {};
  assert.deepEqual(
    [label, hasJournal, hasChecksum, torn, blockSize, size],
    ["sixteen-letters!", true, true, false, 1024, 16 << 20],
  );
  const whole = ext4.slice(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + 1024), half = whole.slice();
  half[120] = 0;
  assert.equal(mendedSuperblock(whole), undefined);
  assert.equal(parseExtSuperblock(half)?.torn, true);
  const mended = mendedSuperblock(half) ?? half;
  assert.deepEqual([...mended.subarray(0, 1020)], [...half.subarray(0, 1020)]);
  assert.equal(parseExtSuperblock(mended)?.torn, false);
  // The check value that catalogues give for this sum, which is inverted at the end.
  assert.equal(~crc32c(0xffffffff, new TextEncoder().encode("123456789")) >>> 0, 0xe3069283);
});

Deno.test("the label's place is the one that e2label writes to", async () => {
  const bytes = await start(8 << 20, "mke2fs", "-q", "-F", "-L", "x\xe9");
  const raw = bytes.subarray(LABEL_OFFSET, LABEL_OFFSET + LABEL_LENGTH);
  assert.deepEqual([...raw.subarray(0, 4)], [0x78, 0xc3, 0xa9, 0]);
  assert.equal(superblock(bytes)?.label, "x\xc3\xa9");
});

Deno.test("what is no superblock is none: too short, another magic number, a block size that no kernel has", async () => {
  const bytes = (await start(8 << 20, "mke2fs", "-q", "-F")).slice(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + 1024);
  assert.notEqual(parseExtSuperblock(bytes), undefined);
  assert.equal(parseExtSuperblock(bytes.subarray(0, 1023)), undefined);
  assert.equal(parseExtSuperblock(new Uint8Array(1024)), undefined);
  for (const exponent of [7, 31, 32, 0xffffffff]) {
    const odd = bytes.slice();
    new DataView(odd.buffer).setUint32(24, exponent, true);
    assert.equal(parseExtSuperblock(odd), undefined);
  }
});

Deno.test("probeFilesystem() tells ext4, XFS and btrfs apart, with their labels", async () => {
  assert.deepEqual(
    [
      probeFilesystem(await start(8 << 20, "mkfs.ext4", "-q", "-L", "COS_STATE")),
      probeFilesystem(await start(320 << 20, "mkfs.xfs", "-q", "-L", "COS_STATE")),
      probeFilesystem(await start(320 << 20, "mkfs.xfs", "-q", "-L", "twelve-chars")),
      probeFilesystem(await start(128 << 20, "mkfs.btrfs", "-q", "-L", "COS_STATE")),
      probeFilesystem(await start(8 << 20, "mkfs.ext4", "-q")),
    ],
    [
      { type: "ext4", label: "COS_STATE" },
      { type: "xfs", label: "COS_STATE" },
      { type: "xfs", label: "twelve-chars" },
      { type: "btrfs", label: "COS_STATE" },
      { type: "ext4", label: "" },
    ],
  );
});

Deno.test("probeFilesystem() finds nothing in other bytes, nor in too few", async () => {
  const btrfs = await start(128 << 20, "mkfs.btrfs", "-q");
  for (
    const bytes of [new Uint8Array(0), new Uint8Array(PROBE_SIZE), btrfs.subarray(0, 65536), btrfs.subarray(0, 100)]
  ) {
    assert.equal(probeFilesystem(bytes), undefined);
  }
});

Deno.test("a torn superblock of btrfs becomes what it was, from its copy; from nothing else", async () => {
  await using scratch = scratchDirectory("mkfs");
  const read = async (csum: string) => {
    const path = `${scratch.path}/${csum}`;
    await run("truncate", ["-s", "160M", path]);
    await run("mkfs.btrfs", ["-q", "--csum", csum, path]);
    using file = Deno.openSync(path);
    return [BTRFS_SUPERBLOCK_OFFSET, BTRFS_COPY_OFFSET].map((at) => {
      const bytes = new Uint8Array(4096);
      file.seekSync(at, Deno.SeekMode.Start);
      file.readSync(bytes);
      return bytes;
    }) as [Uint8Array, Uint8Array];
  };
  const torn = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => i === at ? byte ^ 1 : byte);
  const [first, copy] = await read("crc32c");
  assert.equal(mendedBtrfsSuperblock(first, copy), undefined);
  for (const at of [0, 300, 1000, 4095]) {
    assert.deepEqual(mendedBtrfsSuperblock(torn(first, at), copy), first);
    assert.equal(mendedBtrfsSuperblock(torn(first, at), torn(copy, at)), undefined);
  }
  // A copy of another filesystem's, no superblock at all, one that is cut short.
  assert.equal(mendedBtrfsSuperblock(torn(first, 40), copy), undefined);
  assert.equal(mendedBtrfsSuperblock(torn(first, 64), copy), undefined);
  assert.equal(mendedBtrfsSuperblock(torn(first, 1000), new Uint8Array(4096)), undefined);
  assert.equal(mendedBtrfsSuperblock(torn(first, 1000).subarray(0, 4095), copy), undefined);
  // Another kind of checksum, of which nothing is known here.
  const [other, otherCopy] = await read("xxhash");
  assert.equal(mendedBtrfsSuperblock(torn(other, 1000), otherCopy), undefined);
});
