import assert from "node:assert/strict";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import { packLayer, writeLayout } from "../lab/oci-layout.ts";
import { run } from "../lab/run.ts";
import * as t from "../lab/tar-writer.ts";
import { compareTrees, listTree } from "../lab/tree.ts";

const ITEMS = [
  t.directory("d", { mtime: 5 }),
  t.file("d/one", "content", { mode: 0o4711, uid: 7, mtime: "-1.25", xattrs: { "user.x": "y" } }),
  t.hardlink("d/two", "d/one"),
  t.symlink("d/link", "one", { mtime: 9 }),
  t.charDevice("null", 1, 3, { mtime: 3 }),
  t.fifo(new Uint8Array([0x66, 0xff]), { mtime: 3 }),
  t.directory("d", { mtime: 5 }),
];

async function unpack(items: t.TarItem[], directory: string): Promise<string> {
  const layout = join(directory, "layout");
  writeLayout(layout, { v1: { layers: [packLayer(t.tar(items), "gzip")] } });
  await run("umoci", ["unpack", "--image", `${layout}:v1`, join(directory, "bundle")]);
  return join(directory, "bundle", "rootfs");
}

Deno.test("listTree() tells what a layer said of each entry, with fractions of seconds before 1970", async () => {
  await using scratch = scratchDirectory();
  const tree = await listTree(await unpack(ITEMS, scratch.path));
  const byPath = Object.fromEntries(tree.map((entry) => [entry.path, entry]));
  assert.deepEqual(Object.keys(byPath), [".", "d", "d/link", "d/one", "d/two", "f\xff", "null"]);
  assert.deepEqual(byPath["d/one"], {
    path: "d/one",
    type: "file",
    mode: 0o4711,
    uid: 7,
    gid: 0,
    mtime: "-1250000000",
    xattrs: { "user.x": "eQ==" },
    size: 7,
    sha256: "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73",
    links: ["d/one", "d/two"],
  });
  assert.deepEqual([byPath["null"]?.device, byPath["d/link"]?.target, byPath["d"]?.mtime], [
    "1:3",
    "one",
    "5000000000",
  ]);
});

Deno.test("compareTrees() names every difference, and only those that count", async () => {
  await using one = scratchDirectory();
  await using other = scratchDirectory();
  const changed = [
    ...ITEMS.slice(0, 3),
    t.symlink("d/link", "two", { mtime: 9 }),
    t.charDevice("null", 1, 5, { mtime: 3 }),
    t.file("new", "", { mtime: 1 }),
    t.file("d/two", "content", { mode: 0o4711, uid: 7, mtime: "-1.5", xattrs: { "user.x": "z" } }),
    t.directory("d", { mtime: 5 }),
  ];
  const [a, b] = [await listTree(await unpack(ITEMS, one.path)), await listTree(await unpack(changed, other.path))];
  assert.deepEqual(compareTrees(a, a), []);
  const options = { ignore: ["mtime"], skip: ["f\xff"] } as const;
  assert.deepEqual(compareTrees(a, b, { ignore: [...options.ignore], skip: [...options.skip] }), [
    "d/link: target one != two",
    'd/one: links ["d/one","d/two"] != undefined',
    'd/two: xattrs {"user.x":"eQ=="} != {"user.x":"eg=="}',
    'd/two: links ["d/one","d/two"] != undefined',
    "new: only in the second",
    "null: device 1:3 != 1:5",
  ]);
  const times = compareTrees(a, b).filter((line) => line.startsWith("d/two: mtime"));
  assert.deepEqual(times, ["d/two: mtime -1250000000 != -1500000000"]);
  assert.ok(!compareTrees(a, b, { wholeSeconds: true }).some((line) => line.startsWith("d/two: mtime")));
});
