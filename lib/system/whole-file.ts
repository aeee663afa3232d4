/** Small files that are already open, read into memory as a whole. */
import type { Bytes } from "../base/bytes.ts";

/** Up to `size` bytes from where it stands; fewer where it has become shorter since it was measured. */
export function readWhole(file: Deno.FsFile, size: number): Bytes {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const count = file.readSync(bytes.subarray(at));
    if (count === null) return bytes.subarray(0, at);
    at += count;
  }
  return bytes;
}
