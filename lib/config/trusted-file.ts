/** Files whose word counts for root: nobody else may have written them. */
import type { Bytes } from "../base/bytes.ts";
import { CosError } from "../base/errors.ts";
import { writableByOthers } from "../system/ownership.ts";
import { readWhole } from "../system/whole-file.ts";

/** What is thrown of a file. @param why completes "cannot use it: …". */
export type Failure = (path: string, why: string, cause?: unknown) => CosError;

/** Bytes. */
const MAX_FILE = 1024 * 1024;

/**
 * What decides whom to trust, or what root does, must be root's own, as must the directory it lies in; undefined where there is no
 * such file. Throws what `failure` makes.
 */
export function readTrusted(path: string, failure: Failure): Bytes | undefined {
  try {
    // To open a pipe would wait for who writes into it.
    if (!Deno.statSync(path).isFile) throw failure(path, "it is no regular file");
    using file = Deno.openSync(path);
    const status = file.statSync(), directory = Deno.statSync(path.slice(0, path.lastIndexOf("/")) || "/");
    refuseOthers(path, path, status, failure);
    refuseOthers(path, `the directory of ${path}`, directory, failure);
    if (status.size > MAX_FILE) throw failure(path, `it is longer than ${MAX_FILE} bytes`);
    return readWhole(file, status.size);
  } catch (thrown) {
    return nothingThere(path, thrown, failure);
  }
}

/**
 * Names of the files in a directory of a store. As many directories lie above them as the store has levels: all must be root's.
 * Links are refused, since whoever may write where they lead would be trusted too. Undefined where there is none.
 */
export async function listTrusted(root: string, path: string, failure: Failure): Promise<string[] | undefined> {
  const directory = `${root}${path}`, names: string[] = [];
  try {
    if ((await Deno.lstat(directory)).isSymlink) throw failure(directory, "it is a link");
    for (let at = path.length; at > 0; at = path.lastIndexOf("/", at - 1)) {
      const above = `${root}${path.slice(0, at)}`;
      refuseOthers(directory, above, await Deno.stat(above), failure);
    }
    for await (const { name, isSymlink, isDirectory } of Deno.readDir(directory)) {
      if (isSymlink) throw failure(directory, `${directory}/${name} is a link`);
      if (!isDirectory) names.push(name);
    }
    return names.sort();
  } catch (thrown) {
    return nothingThere(directory, thrown, failure);
  }
}

/** What was thrown where there is something at the path, as a failure of ours. */
function nothingThere(path: string, thrown: unknown, failure: Failure): undefined {
  if (thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory) return undefined;
  if (thrown instanceof CosError) throw thrown;
  throw failure(path, "it cannot be read", thrown);
}

/** @param what is looked at, for the use of `path`. */
function refuseOthers(path: string, what: string, { uid, mode }: Deno.FileInfo, failure: Failure): void {
  const why = writableByOthers({ uid: uid ?? 0, mode: mode ?? 0 });
  if (why !== undefined) throw failure(path, `${what} ${why}`);
}
