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
    if (thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory) return undefined;
    if (thrown instanceof CosError) throw thrown;
    throw failure(path, "it cannot be read", thrown);
  }
}

/** @param what is looked at, for the use of `path`. */
export function refuseOthers(path: string, what: string, { uid, mode }: Deno.FileInfo, failure: Failure): void {
  const why = writableByOthers({ uid: uid ?? 0, mode: mode ?? 0 });
  if (why !== undefined) throw failure(path, `${what} ${why}`);
}
