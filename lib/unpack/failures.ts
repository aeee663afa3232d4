/** What a refused call means for whoever installs an image. */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { CosError, SystemCallError } from "../base/errors.ts";
import { broken } from "./errors.ts";

/** @param path what was being written. */
export function explainFailure(thrown: unknown, path: ByteString): unknown {
  if (!(thrown instanceof SystemCallError)) return thrown;
  if (thrown.errno === "ENOSPC" || thrown.errno === "EDQUOT") {
    return new CosError("NO_SPACE", `Cannot write ${quote(path)}: the image's filesystem is full.`, {
      hint: "Give the image more room with --size, or use a smaller one.",
      cause: thrown,
    });
  }
  // Links can lead to names and depths that no entry could have asked for, and sizes are only numbers.
  if (["ENAMETOOLONG", "ELOOP", "EFBIG"].includes(thrown.errno)) {
    return broken(`${quote(path)} cannot be written: ${thrown.call} failed with ${thrown.errno}`, thrown);
  }
  return new CosError("SYSTEM_CALL", `Cannot write ${quote(path)}: ${thrown.call} failed with ${thrown.errno}.`, {
    hint: "Run it again with --debug; if it stays so, look at the kernel's log (dmesg).",
    cause: thrown,
  });
}

export function quote(name: ByteString): string {
  return JSON.stringify(displayName(name));
}
