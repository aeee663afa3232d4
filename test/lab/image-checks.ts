/** Whether an image is the system that it is taken for: its filesystem is clean, and its tree what was packed. Asked once an image. */
import { createHash } from "node:crypto";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { mountImage } from "./disk.ts";
import type { LinuxFile, Pieces } from "./disk-views.ts";
import { runProgram } from "./machine.ts";
import { listTree, type TreeEntry } from "./tree.ts";

export class ImageChecks {
  readonly #directory: string;
  /** What is wrong, by the image's digest. */
  readonly #found = new Map<string, string[]>();
  /** Digest of the tree, by the image's digest. */
  readonly #trees: ReadonlyMap<string, string>;

  /** @param trees the digest of the tree that is in each image, by the image's digest. */
  constructor(directory: string, trees: ReadonlyMap<string, string>) {
    this.#directory = directory;
    this.#trees = trees;
  }

  /** What is wrong with an image that a slot's name leads to. */
  async problems({ content, digest }: Pick<LinuxFile, "content" | "digest">): Promise<string[]> {
    const known = this.#found.get(digest) ?? await this.#look(content, digest);
    this.#found.set(digest, known);
    return known;
  }

  async #look(content: Pieces, digest: string): Promise<string[]> {
    const path = join(this.#directory, "image-to-check"), problems: string[] = [];
    writePieces(path, content);
    const { status, out } = await runProgram("e2fsck", ["-fn", path]);
    if (status !== 0) problems.push(`e2fsck -fn says of it: ${out.trim()}`);
    const wanted = this.#trees.get(digest);
    if (status === 0 && wanted !== undefined && treeDigest(await treeOf(path)) !== wanted) {
      problems.push("its tree is another");
    }
    return problems;
  }
}

function writePieces(path: string, { size, pieces }: Pieces): void {
  const fd = openSync(path, "w");
  ftruncateSync(fd, size);
  for (const { offset, bytes } of pieces) writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

/** All entries of the filesystem in an image, and all that is known about them. */
export async function treeOf(image: string): Promise<TreeEntry[]> {
  await using mounted = await mountImage(image);
  return await listTree(mounted.path);
}

export function treeDigest(tree: readonly TreeEntry[]): string {
  return createHash("sha256").update(JSON.stringify(tree)).digest("hex");
}
