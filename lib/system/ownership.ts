/** Files that decide what root does: nobody else may write them. */
import type { FileStatus } from "./kernel.ts";

/** Why it may not be believed, completing "it …"; undefined where only root can have written it. */
export function writableByOthers({ uid, mode }: Pick<FileStatus, "uid" | "mode">): string | undefined {
  if (uid !== 0) return "does not belong to root";
  return (mode & 0o022) === 0 ? undefined : "can be written by others than root";
}
