import { CosError } from "../base/errors.ts";

/** For what a finished image turns out not to be. */
export function damaged(why: string, details: Record<string, string | number>): CosError {
  return new CosError("IMAGE_DAMAGED", `The new image is damaged: ${why}.`, {
    hint: "Nothing was switched. Look at the kernel's log (dmesg) for errors of the disk, and run it again.",
    details,
  });
}
