/** Reading files out of trees that strangers wrote, and copying a directory of this machine as it is. */
import assert from "node:assert/strict";
import { byteStringOf } from "../../lib/base/byte-string.ts";
import { crc32 } from "../../lib/system/codecs.ts";
import { ContentSums } from "../../lib/system/content-sums.ts";
import { AT_FDCWD, type Kernel, O_DIRECTORY, O_RDONLY } from "../../lib/system/kernel.ts";
import { realSystem } from "../../lib/system/system.ts";
import { TreeRoot } from "../../lib/system/tree-root.ts";
import { copyTree } from "../../lib/unpack/copy-tree.ts";
import { TreeWriter } from "../../lib/unpack/tree-writer.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { openDescriptors, thrownBy } from "../lab/expect.ts";
import { run } from "../lab/run.ts";
import { compareTrees, listTree } from "../lab/tree.ts";

async function withTree(body: (kernel: Kernel, fd: number, path: string) => void | Promise<void>): Promise<void> {
  await using scratch = scratchDirectory("tree");
  const { kernel } = await realSystem(), before = openDescriptors().length;
  const fd = kernel.openat(AT_FDCWD, byteStringOf(scratch.path), O_RDONLY | O_DIRECTORY);
  try {
    await body(kernel, fd, scratch.path);
  } finally {
    kernel.close(fd);
  }
  assert.equal(openDescriptors().length, before);
}

Deno.test("files are read through links within the tree, and never outside of it", async () => {
  await withTree(async (kernel, fd, path) => {
    await run("sh", [
      "-c",
      `mkdir -p usr/lib etc a/b && echo ours > etc/passwd && echo id > usr/lib/os-release &&
       ln -s ../usr/lib/os-release etc/os-release && ln -s /etc/passwd abs && ln -s ../../../../../../etc/passwd up &&
       ln -s usr/lib lib && ln -s lib/os-release twice && ln -s ../../etc a/b/etc && ln -s loop loop && ln -s nowhere dangling &&
       ln -s etc dir && mkfifo pipe && mknod null c 1 3 && ln -s . self`,
    ], { cwd: path });
    for (const openat2 of [true, false]) {
      const tree = new TreeRoot(kernel, fd, openat2);
      const read = (name: string) => {
        const bytes = tree.readFile(name);
        return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
      };
      const found = [
        "etc/passwd",
        "abs",
        "up",
        "a/b/etc/passwd",
        "dir/passwd",
        "self/self/etc/passwd",
        "a/b/etc/../etc/passwd",
      ];
      assert.deepEqual(found.map(read), found.map(() => "ours\n"));
      assert.deepEqual(["etc/os-release", "lib/os-release", "twice"].map(read), Array(3).fill("id\n"));
      const none = ["", "etc", "dir", "dangling", "no/such", "etc/passwd/x", "pipe", "null", "self"];
      assert.deepEqual(none.map(read), none.map(() => undefined));
      assert.deepEqual([tree.sizeOf("abs"), tree.sizeOf("nothing"), tree.readFile("abs", 4)], [
        5,
        undefined,
        undefined,
      ]);
      assert.deepEqual(thrownBy(() => tree.readFile("loop")), {
        code: "BROKEN_LAYER",
        message: "Cannot follow a path in the image: the path loop goes through too many links.",
      });
      tree.forget();
    }
  });
});

Deno.test("directories stay open for the next question, but not more than some", async () => {
  await withTree((kernel, fd, path) => {
    for (let i = 0; i < 100; i++) Deno.mkdirSync(`${path}/${i}`);
    const tree = new TreeRoot(kernel, fd), before = openDescriptors().length;
    const opened = Array.from({ length: 100 }, (_, i) => tree.find(`${i}`)?.ino);
    assert.equal(new Set(opened).size, 100);
    assert.equal(openDescriptors().length, before + 32);
    // What was just asked for is not what makes room for the next.
    const first = tree.find("99");
    for (let i = 0; i < 31; i++) tree.find(`${i}`);
    assert.equal(kernel.fstat(first?.fd ?? -1).ino, first?.ino);
    tree.forget();
    assert.equal(openDescriptors().length, before);
  });
});

Deno.test("a directory is copied as it is, whatever its names would mean in a layer", async () => {
  await withTree(async (kernel, fd, path) => {
    await run("sh", [
      "-c",
      `mkdir -p from/d/e from/.wh..wh.plnk from/d/.wh.x from/tmp from/var to && cd from && echo a > d/a && ln d/a hard && ln -s d/a link &&
       echo marker > .wh.d && : > d/.wh..wh..opq && echo in > .wh..wh.plnk/f && echo in > d/.wh.x/f && truncate -s 1M sparse &&
       printf x | dd of=sparse bs=1 seek=500000 conv=notrunc status=none && mkfifo pipe && mknod null c 1 3 && echo no > tmp/gone &&
       chmod 4755 d/a && chown 12:34 d/e && setfattr -n user.x -v y d/a && touch -d '1960-01-02 03:04:05.123456789' d/e && touch -d @5 .`,
    ], { cwd: path });
    const from = kernel.openat(fd, "from", O_RDONLY | O_DIRECTORY),
      to = kernel.openat(fd, "to", O_RDONLY | O_DIRECTORY);
    const warnings: string[] = [];
    const writer = new TreeWriter(kernel, to, {
      sums: new ContentSums(await crc32()),
      reserve: () => {},
      warn: (text) => warnings.push(text),
    });
    try {
      await copyTree(kernel, from, writer, { warn: (text) => warnings.push(text), entry: () => {} });
      writer.finish();
      assert.ok(kernel.statat(to, "sparse").blocks < 100);
    } finally {
      writer.close();
      kernel.close(from);
      kernel.close(to);
    }
    const differences = compareTrees(await listTree(`${path}/from`), await listTree(`${path}/to`));
    assert.deepEqual([differences, warnings], [["tmp/gone: only in the first"], []]);
  });
});
