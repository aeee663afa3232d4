/** Compares two directory trees entry by entry, by everything that a layer can say about an entry. */
import { join } from "node:path";
import { run } from "./run.ts";

/** Debian packages that it needs: the interpreter of the listing. */
export const TREE_PACKAGES = ["python3-minimal"];

export interface TreeEntry {
  /** From the root, without a slash in front; the root is `.`. Raw bytes, as Latin-1. */
  path: string;
  type: "file" | "directory" | "symlink" | "char" | "block" | "fifo" | "socket";
  /** The permission bits, setuid, setgid and sticky among them. */
  mode: number;
  uid: number;
  gid: number;
  /** Nanoseconds since 1970, as text; a medium may keep less. */
  mtime: string;
  /** Base64, by name, of all namespaces that the caller may read. */
  xattrs: Record<string, string>;
  /** Bytes; files only. */
  size?: number;
  /** Hex; files only. */
  sha256?: string;
  /** Symlinks only. */
  target?: string;
  /** `MAJOR:MINOR`; device nodes only. */
  device?: string;
  /** All paths of the tree that are this same file, where they are several. */
  links?: string[];
}

export interface CompareOptions {
  /** What is not compared: fields of an entry, everywhere. */
  ignore?: (keyof TreeEntry)[];
  /** Paths (raw bytes as Latin-1) that may be there or not, with all below them. */
  skip?: string[];
  /** Xattrs that do not count, by name. */
  ignoreXattrs?: string[];
  /** Cuts times to whole seconds: inodes of 128 bytes (small ext2 images) hold no more. */
  wholeSeconds?: boolean;
}

export async function listTree(root: string): Promise<TreeEntry[]> {
  const lines = await run("/usr/bin/python3", [join(import.meta.dirname ?? ".", "tree.py"), root]);
  return lines.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as TreeEntry);
}

/** The differences, one a line: `PATH: FIELD A != B`, `PATH: only in the first`; empty when there are none. */
export function compareTrees(a: TreeEntry[], b: TreeEntry[], options: CompareOptions = {}): string[] {
  const first = index(a, options), second = index(b, options);
  const differences: string[] = [];
  for (const path of [...new Set([...first.keys(), ...second.keys()])].sort()) {
    const left = first.get(path), right = second.get(path);
    if (left === undefined || right === undefined) {
      differences.push(`${path}: only in the ${left === undefined ? "second" : "first"}`);
      continue;
    }
    const fields = new Set([...Object.keys(left), ...Object.keys(right)] as (keyof TreeEntry)[]);
    for (const field of fields) {
      const [one, other] = [show(left[field]), show(right[field])];
      if (one !== other) differences.push(`${path}: ${field} ${one} != ${other}`);
    }
  }
  return differences;
}

function show(value: TreeEntry[keyof TreeEntry]): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The entries by path, without what does not count. */
function index(entries: TreeEntry[], options: CompareOptions): Map<string, Partial<TreeEntry>> {
  const skipped = (path: string) => (options.skip ?? []).some((one) => path === one || path.startsWith(`${one}/`));
  return new Map(
    entries.filter(({ path }) => !skipped(path)).map((entry) => {
      const kept: Partial<TreeEntry> = { ...entry };
      kept.xattrs = Object.fromEntries(
        Object.entries(entry.xattrs).filter(([name]) => !(options.ignoreXattrs ?? []).includes(name)),
      );
      // Division of BigInts cuts towards zero; what a medium drops from a time before 1970 is cut downwards.
      if (options.wholeSeconds === true) {
        const ns = BigInt(entry.mtime), second = 1_000_000_000n;
        kept.mtime = String((ns - ((ns % second) + second) % second) / second);
      }
      for (const field of options.ignore ?? []) delete kept[field];
      return [entry.path, kept];
    }),
  );
}
