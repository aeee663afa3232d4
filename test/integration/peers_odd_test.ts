/**
 * Every odd thing that layers can hold and that some program unpacks, in one image, as the program and its peers unpack it. What a peer is
 * spared stands with its reason at the case (`test/lab/odd-*.ts`); here no case may be without a peer.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import { type Compression, packLayer, writeLayout } from "../lab/oci-layout.ts";
import { ODD_ATTRIBUTES } from "../lab/odd-attributes.ts";
import type { OddCase, Peer } from "../lab/odd-case.ts";
import { ODD_ENTRIES } from "../lab/odd-entries.ts";
import { ODD_LAYERS } from "../lab/odd-layers.ts";
import { gnuTree, modelTrees, podmanTree, tarfileTree, umociUnpack, withOurTimes, withTimesOf } from "../lab/peers.ts";
import * as t from "../lab/tar-writer.ts";
import { type CompareOptions, compareTrees, listTree, type TreeEntry } from "../lab/tree.ts";
import { unpackBothWays } from "../lab/unpacked.ts";

const ONE_LAYER = [...ODD_ENTRIES, ...ODD_ATTRIBUTES];
const CASES = [...ONE_LAYER, ...ODD_LAYERS];

/** They know nothing of layers. */
const ONE_ARCHIVE: Peer[] = ["tar", "tarfile"];

/** The image of the cases: `casesFor(peer)` or some of them; the top has an entry in each layer. */
function image(cases: OddCase[]): Uint8Array[] {
  const layers = cases.map(({ name, layers }) => layers((path) => path === "" ? name : `${name}/${path}`));
  const count = Math.max(...layers.map(({ length }) => length));
  return Array.from({ length: count }, (_, i) =>
    t.tar([
      t.directory("./", { mode: 0o755, mtime: 1_000_000 + i }),
      ...cases.flatMap(({ name }, which) => {
        const items = layers[which]?.[i];
        // Each case's own directory has an entry, so that no peer has to imply it.
        return items === undefined
          ? []
          : [t.directory(name, { mtime: i }), ...items.filter((item) => !isTop(item, name))];
      }),
    ], { trailing: `bytes behind the end of layer ${i}` }));
}

function isTop(item: t.TarItem, name: string): boolean {
  return !(item instanceof Uint8Array) && item.name instanceof Uint8Array &&
    new TextDecoder().decode(item.name) === `${name}/`;
}

function casesFor(peer: Peer): OddCase[] {
  return CASES.filter((one) => one.without?.[peer] === undefined)
    .filter((one) => !ONE_ARCHIVE.includes(peer) || ONE_LAYER.includes(one));
}

/** Unpacks the image both ways and compares each with the peer's tree. */
async function assertLike(
  layers: Uint8Array[],
  theirs: TreeEntry[] | ((ours: TreeEntry[]) => TreeEntry[]),
  compression: Compression,
  options: CompareOptions = {},
): Promise<void> {
  await unpackBothWays(layers, ({ tree }) => {
    const ours = Object.values(tree);
    assert.deepEqual(compareTrees(ours, typeof theirs === "function" ? theirs(ours) : theirs, options), []);
  }, { compression });
}

Deno.test("every odd case has two peers that unpack it as the program does, but for a few", () => {
  const peers: Peer[] = ["model", "umoci", "podman", "tar", "tarfile"];
  const alone = CASES.filter((one) => peers.filter((peer) => casesFor(peer).includes(one)).length < 2);
  // Here only the model of the specification agrees: the peers know less, or leave to their filesystem what is done here.
  assert.deepEqual(alone.map(({ name }) => name), [
    "forward-hardlinks",
    "far-times",
    "star-acl-text",
    "libarchive",
    "overlay-xattrs",
    "opaque-with-implied",
    "overlay-leftovers",
  ]);
});

Deno.test("the odd image is what the model of the specification says", async () => {
  await using scratch = scratchDirectory("odd");
  const layers = image(casesFor("model"));
  const archives = layers.map((archive, i) => {
    const path = join(scratch.path, `${i}.tar`);
    writeFileSync(path, archive);
    return path;
  });
  const model = (await modelTrees([{ name: "odd", archives }])).get("odd") ?? [];
  await assertLike(layers, (ours) => withTimesOf(ours, model), "zstd-frames");
});

Deno.test("the odd image is what umoci makes of it, from gzip in many members", async () => {
  await using scratch = scratchDirectory("odd");
  const layers = image(casesFor("umoci")), layout = join(scratch.path, "layout"), rootfs = join(scratch.path, "rootfs");
  writeLayout(layout, {
    odd: { layers: layers.map((layer) => packLayer(layer, "gzip-members", { pieceBytes: 5000 })) },
  });
  await umociUnpack(layout, "odd", rootfs);
  const theirs = await listTree(rootfs);
  await assertLike(layers, (ours) => withOurTimes(ours, theirs, { directories: true }), "gzip-members");
});

Deno.test("the odd image is what podman shows of it, from zstd in many frames", async () => {
  await using scratch = scratchDirectory("odd");
  const layers = image(casesFor("podman")), layout = join(scratch.path, "layout");
  writeLayout(layout, {
    odd: { layers: layers.map((layer) => packLayer(layer, "zstd-frames", { pieceBytes: 5000 })) },
  });
  const theirs = await podmanTree(layout, "odd");
  // The top is the highest layer's own directory.
  await assertLike(layers, (ours) => withOurTimes(ours, theirs), "zstd-frames", { skip: ["."] });
});

Deno.test("the odd archive is what GNU tar extracts", async () => {
  await using scratch = scratchDirectory("odd");
  const [archive = new Uint8Array(0)] = image(casesFor("tar")), path = join(scratch.path, "odd.tar");
  writeFileSync(path, archive);
  const theirs = await gnuTree(path, join(scratch.path, "tree"));
  await assertLike([archive], (ours) => withOurTimes(ours, theirs, { directories: true }), "none");
});

Deno.test("the odd archive is what Python's tarfile extracts", async () => {
  await using scratch = scratchDirectory("odd");
  const [archive = new Uint8Array(0)] = image(casesFor("tarfile")), path = join(scratch.path, "odd.tar");
  writeFileSync(path, archive);
  const theirs = await tarfileTree(path, join(scratch.path, "tree"));
  await assertLike([archive], (ours) => withOurTimes(ours, theirs, { links: true }), "zstd");
});

/** What layers say of the top itself, which no case below a directory of its own can. */
const TOP: t.TarItem[][] = [
  [
    t.directory("./", { mode: 0o711, uid: 5, mtime: "7.5", xattrs: { "user.top": "1" } }),
    t.file("a", "a"),
    t.file("./b", "b"),
    t.file("/c", "c"),
    t.directory("d"),
    t.file("d/in", "x"),
  ],
  [],
  [t.whiteout("a"), t.file("./.wh.b"), t.file("/.wh.c"), t.file("e", "e")],
  [t.directory("/", { mode: 0o755, mtime: 8 }), t.file("f", "f"), t.opaque(""), t.directory("d"), t.file("d/new", "y")],
];

Deno.test("what layers say of the top is what the model, umoci and podman make of it", async () => {
  await using scratch = scratchDirectory("top");
  const layers = TOP.map((items) => t.tar(items)),
    layout = join(scratch.path, "layout"),
    rootfs = join(scratch.path, "rootfs");
  const archives = layers.map((archive, i) => {
    writeFileSync(join(scratch.path, `${i}.tar`), archive);
    return join(scratch.path, `${i}.tar`);
  });
  const model = (await modelTrees([{ name: "top", archives }])).get("top") ?? [];
  const packed = layers.map((layer) => packLayer(layer, "gzip"));
  // The last layer is not for podman: overlayfs knows no opaque top.
  writeLayout(layout, { top: { layers: packed }, three: { layers: packed.slice(0, 3) } });
  await umociUnpack(layout, "top", rootfs);
  const umoci = await listTree(rootfs), podman = await podmanTree(layout, "three");
  await assertLike(layers, (ours) => withTimesOf(ours, model), "none");
  await assertLike(layers, (ours) => withOurTimes(ours, umoci, { directories: true }), "gzip");
  await assertLike(layers.slice(0, 3), (ours) => withOurTimes(ours, podman), "zstd", { skip: ["."] });
});

Deno.test("what aufs left at the top is what the model makes of it: umoci and podman keep its directory of links", async () => {
  await using scratch = scratchDirectory("aufs");
  const layer = t.tar([
    t.file(".wh..wh.aufs", "x"),
    t.directory(".wh..wh.plnk"),
    t.file(".wh..wh.plnk/12.34", "shared"),
    t.hardlink("a", ".wh..wh.plnk/12.34"),
    t.hardlink("b", ".wh..wh.plnk/12.34"),
  ]);
  writeFileSync(join(scratch.path, "0.tar"), layer);
  const model = (await modelTrees([{ name: "aufs", archives: [join(scratch.path, "0.tar")] }])).get("aufs") ?? [];
  await assertLike([layer], (ours) => withTimesOf(ours, model), "gzip");
});
