/**
 * Whether a system will say by itself that it runs well: it contains an enabled unit that calls `cos boot good`. Only such a
 * system may be put on trial; another would be left for the fallback however well it runs.
 */
import type { ByteString } from "../base/byte-string.ts";
import { hasErrno, type Kernel } from "../system/kernel.ts";
import { type OpenDirectory, TreeRoot } from "../system/tree-root.ts";

export const GOOD_UNIT = "cos-boot-good.service";
const UNIT_DIRECTORIES = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"] as const;

/** Follows links within the tree only: a unit that is masked, or a link that leads nowhere, is none. */
export function marksItself(kernel: Kernel, tree: TreeRoot): boolean {
  if (read(tree, `etc/systemd/system/${GOOD_UNIT}`) === undefined && isMasked(kernel, tree)) return false;
  return UNIT_DIRECTORIES.some((directory) =>
    wants(kernel, tree, directory).some((name) => callsUs(read(tree, `${directory}/${name}/${GOOD_UNIT}`)))
  );
}

function wants(kernel: Kernel, tree: TreeRoot, path: string): ByteString[] {
  const directory = tree.find(path);
  if (directory === undefined) return [];
  return entries(kernel, directory).filter((name) => name.endsWith(".wants") || name.endsWith(".requires"));
}

function entries(kernel: Kernel, { fd }: OpenDirectory): ByteString[] {
  // The tree's own descriptors cannot be read from (O_PATH).
  const readable = kernel.openat(fd, ".", 0);
  try {
    return kernel.readDirectory(readable).map(({ name }) => name);
  } finally {
    kernel.close(readable);
  }
}

/** A link to /dev/null in /etc, or an empty file there: systemd then has no such unit, whoever wants it. */
function isMasked(kernel: Kernel, tree: TreeRoot): boolean {
  const directory = tree.find("etc/systemd/system");
  if (directory === undefined) return false;
  try {
    kernel.statat(directory.fd, GOOD_UNIT);
    return true;
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT")) return false;
    throw thrown;
  }
}

function callsUs(unit: string | undefined): boolean {
  return unit !== undefined && /^ExecStart=\S*\bcos\s+boot\s+good\b/m.test(unit);
}

function read(tree: TreeRoot, path: string): string | undefined {
  const bytes = tree.readFile(path);
  return bytes === undefined || bytes.length === 0 ? undefined : new TextDecoder().decode(bytes);
}
