/**
 * A checkpoint makes what was done to a filesystem so far readable for a boot loader, which reads the disk without replaying
 * the journal. fsync is not enough for that: it puts the change into the journal, and no further.
 */
import { BTRFS_MAGIC, hasErrno, type Kernel } from "./kernel.ts";

// _IOW('f', 43, __u32), Linux 5.14: fs/ext4/ext4.h.
const EXT4_IOC_CHECKPOINT = 0x4004662b;
// _IOWR('X', 119, int) and 120: include/uapi/linux/fs.h.
const FIFREEZE = 0xc0045877, FITHAW = 0xc0045878;

const THAW_TRIES = 100;

/**
 * @param dir a directory of the filesystem. @param type its magic number, from fstatfs(2).
 * @param guarded asked before the filesystem is frozen: true where something outside this process will thaw it if this process
 * dies in between. Where it is false, the filesystem is not frozen, and syncfs(2) has to do.
 * Throws `SystemCallError`.
 */
export async function checkpoint(
  kernel: Kernel,
  dir: number,
  type: number,
  guarded: () => Promise<boolean>,
): Promise<void> {
  kernel.syncfs(dir);
  if (type === BTRFS_MAGIC) return; // a full commit leaves no log tree to replay
  try {
    kernel.ioctl(dir, EXT4_IOC_CHECKPOINT, new Uint8Array(4));
    return;
  } catch (thrown) {
    // ENODEV: ext4 without a journal, so nothing to replay. ENOTTY: not ext4, or Linux before 5.14.
    if (hasErrno(thrown, "ENODEV")) return;
    if (!hasErrno(thrown, "ENOTTY", "EINVAL", "EPERM")) throw thrown;
  }
  if (!await guarded()) return;
  try {
    kernel.ioctl(dir, FIFREEZE, 0);
  } catch (thrown) {
    // This filesystem cannot be frozen: syncfs was all that can be had. One that somebody else has frozen (EBUSY) is an error: on
    // XFS the boot loader would still see what was.
    if (hasErrno(thrown, "EOPNOTSUPP", "EPERM", "ENOTTY")) return;
    throw thrown;
  }
  thawAtOnce(kernel, dir);
}

/** Nothing else may be done before it has worked: on a frozen filesystem the next write would wait for ever. */
function thawAtOnce(kernel: Kernel, dir: number): void {
  for (let tries = 1;; tries++) {
    try {
      kernel.ioctl(dir, FITHAW, 0);
      return;
    } catch (thrown) {
      if (hasErrno(thrown, "EINVAL")) return; // somebody else has thawed it
      if (tries === THAW_TRIES) throw thrown;
    }
  }
}

/** For the guard: thaws what a dead process may have left frozen. EINVAL says that nothing was. */
export function thaw(kernel: Kernel, dir: number): void {
  try {
    kernel.ioctl(dir, FITHAW, 0);
  } catch (thrown) {
    if (!hasErrno(thrown, "EINVAL")) throw thrown;
  }
}
