/**
 * From a pod to its host. The host's root becomes this process's own: so every word that counts (policy, logins, mirrors, certificates,
 * hooks) is the host's, also where it is reached by an absolute link, and never one of the image that is being installed.
 */
import { byteStringOf } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { AT_FDCWD, type FileStatus, hasErrno, isDirectory, type Kernel } from "../system/kernel.ts";

/** @param pid this process's id. Throws `CONFIGURATION` where that is no host's root, or cannot be worked in. */
export function enterHost(kernel: Kernel, pid: number, path: string): void {
  const status = look(kernel, path), own = kernel.statat(AT_FDCWD, "/", true);
  if (status === undefined || !isDirectory(status)) throw unusable(path, "there is no such directory");
  if (status.ino === own.ino && status.devMajor === own.devMajor && status.devMinor === own.devMinor) {
    throw unusable(path || "/", "it is the root of this very pod");
  }
  if (look(kernel, `${path}/proc/self/fd`) === undefined) throw unusable(path, "its /proc is not mounted in it");
  const seen = Deno.readLinkSync(`${path}/proc/self`);
  if (seen !== String(pid)) {
    throw unusable(path, `its /proc knows this process by another number (${seen}, not ${pid})`);
  }
  kernel.chroot(byteStringOf(path));
}

function look(kernel: Kernel, path: string): FileStatus | undefined {
  try {
    return kernel.statat(AT_FDCWD, byteStringOf(path === "" ? "/" : path), true);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return undefined;
    throw thrown;
  }
}

function unusable(path: string, why: string): CosError {
  return new CosError("CONFIGURATION", `Cannot work on the host at ${path}: ${why}.`, {
    hint:
      "suc-upgrade runs in a job of system-upgrade-controller: privileged, hostPID: true, the host's root mounted with all that is mounted in it at /host (HOST_DIR).",
  });
}
