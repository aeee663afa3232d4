/**
 * Applies layers with the program's own writer to a real ext4 tree (its own image, mounted where nobody else sees it), and lists
 * what came out with other eyes (Python). Beside the tree lies a directory with canaries that no layer may ever reach.
 */
import assert from "node:assert/strict";
import { byteStringOf } from "../../lib/base/byte-string.ts";
import type { Digest } from "../../lib/base/digest.ts";
import { makeImage } from "../../lib/image/make.ts";
import { type MountedImage, mountImage } from "../../lib/image/mount.ts";
import { crc32 } from "../../lib/system/codecs.ts";
import { ContentSums } from "../../lib/system/content-sums.ts";
import { AT_FDCWD, type Kernel, O_DIRECTORY, O_RDONLY } from "../../lib/system/kernel.ts";
import { realSystem } from "../../lib/system/system.ts";
import { applyLayer } from "../../lib/unpack/apply-layer.ts";
import { INLINE_DECODER } from "../../lib/unpack/decoder.ts";
import { TreeWriter } from "../../lib/unpack/tree-writer.ts";
import { scratchDirectory } from "./cleanup.ts";
import { type Compression, packLayer } from "./oci-layout.ts";
import { listTree, type TreeEntry } from "./tree.ts";
import * as t from "./tar-writer.ts";

export interface UnpackOptions {
  openat2?: boolean;
  compression?: Compression;
  /** Bytes a piece in which the layer comes. */
  piece?: number;
  /** Lays another kernel over the real one. */
  kernel?: (real: Kernel) => Kernel;
  reserve?: (bytes: number) => void;
  replaceDirectoryLinks?: boolean;
  maxEntries?: number;
}

export interface Unpacked {
  tree: Tree;
  warnings: string[];
  sums: ContentSums;
  kernel: Kernel;
  /** The tree's top directory. */
  fd: number;
  /** Where other programs see the tree. */
  path: string;
  entries: number;
}

/** Entries by path; the top is `.`. */
export type Tree = Record<string, TreeEntry>;

/** Layers as items of an archive, or as its bytes. */
export type LayerContent = t.TarItem[] | Uint8Array;

/**
 * Applies the layers and hands what came out to `look`, which may not keep it. Checks each time that nothing outside of the tree
 * was touched and that no descriptor stayed open.
 */
export async function unpack(
  layers: LayerContent[],
  look: (result: Unpacked) => void | Promise<void>,
  options: UnpackOptions = {},
): Promise<void> {
  await withTree(async ({ kernel, fd, path }) => {
    const result = await applyLayers(options.kernel?.(kernel) ?? kernel, fd, layers, options);
    const tree = Object.fromEntries((await listTree(path)).map((entry) => [entry.path, entry]));
    delete tree["lost+found"];
    await look({ ...result, tree, path });
  });
}

/** Many images beside one another on one filesystem, which is made but once; `look` gets each by its place in the list. */
export async function unpackMany(
  images: LayerContent[][],
  look: (index: number, tree: TreeEntry[]) => void | Promise<void>,
  options: (index: number) => UnpackOptions = () => ({}),
): Promise<void> {
  await withTree(async ({ kernel, fd, path }) => {
    for (const [index, layers] of images.entries()) {
      kernel.mkdirat(fd, String(index), 0o755);
      const top = kernel.openat(fd, String(index), O_RDONLY | O_DIRECTORY);
      try {
        await applyLayers(kernel, top, layers, options(index));
      } catch (cause) {
        throw new Error(`image ${index} of the list cannot be unpacked: ${cause}`, { cause });
      } finally {
        kernel.close(top);
      }
    }
    const trees = await listTrees(path, images.length);
    for (const [index, tree] of trees.entries()) await look(index, tree);
  });
}

/** The trees in the directories `0`, `1`, … of a directory, listed in one go. */
export async function listTrees(directory: string, count: number): Promise<TreeEntry[][]> {
  const trees = Array.from({ length: count }, (): TreeEntry[] => []);
  for (const entry of await listTree(directory)) {
    const [, index = "", rest = ""] = /^([0-9]+)(?:\/(.*))?$/s.exec(entry.path) ?? [];
    if (index === "") continue;
    const links = entry.links?.map((path) => path.slice(index.length + 1));
    trees[Number(index)]?.push({ ...entry, path: rest === "" ? "." : rest, ...(links !== undefined && { links }) });
  }
  return trees;
}

async function applyLayers(
  kernel: Kernel,
  fd: number,
  layers: LayerContent[],
  options: UnpackOptions,
): Promise<Omit<Unpacked, "tree" | "path">> {
  const warnings: string[] = [], warn = (text: string) => void warnings.push(text);
  const sums = new ContentSums(await crc32());
  const writer = new TreeWriter(kernel, fd, {
    sums,
    warn,
    reserve: options.reserve ?? (() => {}),
    openat2: options.openat2 ?? true,
    ...(options.replaceDirectoryLinks !== undefined && { replaceDirectoryLinks: options.replaceDirectoryLinks }),
    ...(options.maxEntries !== undefined && { maxEntries: options.maxEntries }),
  });
  const before = descriptors(kernel);
  try {
    for (const [index, layer] of layers.entries()) {
      const archive = layer instanceof Uint8Array ? layer : t.tar(layer);
      const { content, diffId } = packLayer(archive, options.compression ?? "gzip");
      const bytes = pieces(content as Uint8Array, options.piece ?? 65536), { length: size } = content as Uint8Array;
      const named = { index, name: `layer ${index + 1}`, diffId: diffId as Digest, size, bytes };
      await applyLayer(named, writer, INLINE_DECODER, warn);
    }
    writer.finish();
  } finally {
    writer.close();
    assert.equal(descriptors(kernel), before, "descriptors stayed open");
  }
  return { warnings, sums, kernel, fd, entries: writer.entries };
}

/** With and without openat2(2), which must make no difference. */
export async function unpackBothWays(
  layers: LayerContent[],
  look: (result: Unpacked) => void | Promise<void>,
  options: UnpackOptions = {},
): Promise<void> {
  for (const openat2 of [true, false]) await unpack(layers, look, { ...options, openat2 });
}

/** A new filesystem of an image, mounted; checks at the end that nothing outside of it was touched. */
export async function withTree(
  body: (mounted: { kernel: Kernel; fd: number; path: string }) => Promise<void>,
): Promise<void> {
  await using scratch = scratchDirectory("unpack");
  const system = await realSystem(), { kernel } = system;
  const before = canaries(scratch.path);
  const dir = kernel.openat(AT_FDCWD, byteStringOf(scratch.path), O_RDONLY | O_DIRECTORY);
  try {
    const uuid = crypto.randomUUID();
    using file = await makeImage(system, dir, "image", { size: 256 * 1024 * 1024, label: "TEST", uuid });
    using mounted: MountedImage = mountImage(kernel, system.pid, file.fd, { readOnly: false, name: "cos-unpack-test" });
    await body({ kernel, fd: mounted.fd, path: `/proc/${Deno.pid}/fd/${mounted.fd}/.` });
  } finally {
    kernel.close(dir);
    assert.deepEqual(canaries(scratch.path), before, "something outside of the tree was touched");
  }
}

/** What an attack would reach: a directory beside the image, one of the machine's, this process's own directory. */
function canaries(directory: string): unknown {
  const canary = `${directory}/canary`;
  try {
    Deno.mkdirSync(canary);
    Deno.writeTextFileSync(`${canary}/file`, "untouched");
  } catch (thrown) {
    if (!(thrown instanceof Deno.errors.AlreadyExists)) throw thrown;
  }
  const listed = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();
  const { mode, mtime, nlink } = Deno.lstatSync(`${canary}/file`);
  return [
    listed(canary),
    Deno.readTextFileSync(`${canary}/file`),
    [mode, mtime, nlink],
    listed("/").filter((name) => name.startsWith("pwned")),
    listed("/etc").filter((name) => name.startsWith("pwned")),
    listed(".").filter((name) => name.startsWith("pwned")),
  ];
}

/** How many descriptors this process holds, by another road than the kernel interface that is tested. */
function descriptors(_kernel: Kernel): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** @param turns each piece comes in a turn of the event loop of its own, as from a network. */
export async function* pieces(bytes: Uint8Array, size: number, turns = false): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    await (turns ? new Promise((resolve) => setTimeout(resolve, 0)) : Promise.resolve());
    yield bytes.slice(at, at + size);
  }
}

/** Types and contents of a tree in short: `path`, `path/`, `path -> target`, `path = content`. */
export async function outline({ path, tree }: Unpacked): Promise<string[]> {
  const lines: string[] = [];
  for (const entry of Object.values(tree)) {
    if (entry.path === ".") continue;
    if (entry.type === "directory") lines.push(`${entry.path}/`);
    else if (entry.type === "symlink") lines.push(`${entry.path} -> ${entry.target}`);
    else if (entry.type === "file") {
      const content = await Deno.readTextFile(`${path}/${entry.path}`);
      lines.push(`${entry.path} = ${content}${entry.links === undefined ? "" : ` (${entry.links.join(", ")})`}`);
    } else lines.push(`${entry.path} ${entry.type}${entry.device === undefined ? "" : ` ${entry.device}`}`);
  }
  return lines.sort();
}
