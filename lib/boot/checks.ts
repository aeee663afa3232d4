/** The operator's own checks: programs that say whether the system that was booted does what it is there for. */
import { type ByteString, byteStringOf, displayName } from "../base/byte-string.ts";
import { AT_FDCWD, hasErrno, isDirectory, isRegular, type Kernel, O_DIRECTORY, O_RDONLY } from "../system/kernel.ts";
import { writableByOthers } from "../system/ownership.ts";
import { runTimed } from "../system/timed-run.ts";

export const CHECKS_DIRECTORY = "/etc/cos/checks.d";

export interface Check {
  name: string;
  /** Why it may not be run: it would run as root what others could have written. Counts as failed. */
  refused?: string;
  /** Why it is no check at all. */
  skipped?: string;
}

/** In the order of their names, byte by byte. None where there is no such directory. */
export function listChecks(kernel: Kernel, path: string = CHECKS_DIRECTORY): Check[] {
  let fd;
  try {
    fd = kernel.openat(AT_FDCWD, byteStringOf(path), O_RDONLY | O_DIRECTORY);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return [];
    throw thrown;
  }
  try {
    const directory = writableByOthers(kernel.fstat(fd));
    const names = kernel.readDirectory(fd).map(({ name }) => name).filter((name) => !name.startsWith(".")).sort();
    return names.map((name): Check => ({ name: displayName(name), ...judge(kernel, fd, name, directory) }));
  } finally {
    kernel.close(fd);
  }
}

/** @param directory what is wrong with the directory itself. */
function judge(kernel: Kernel, fd: number, name: ByteString, directory: string | undefined): Partial<Check> {
  if (!/^[\x21-\x7e]+$/.test(name)) return { skipped: "its name is no plain word" };
  let status;
  try {
    status = kernel.statat(fd, name, true);
  } catch (thrown) {
    if (!hasErrno(thrown, "ENOENT", "ELOOP")) throw thrown;
    return { refused: "it is a link that leads nowhere" };
  }
  if (isDirectory(status)) return { skipped: "it is a directory" };
  if (!isRegular(status)) return { refused: "it is no file" };
  if ((status.mode & 0o111) === 0) return { skipped: "it is not executable" };
  if (directory !== undefined) return { refused: `not run, its directory ${directory}` };
  const why = writableByOthers(status);
  return why === undefined ? {} : { refused: `not run, it ${why}` };
}

/** Undefined where it succeeded, else why it did not. @param limit milliseconds. */
export async function runCheck(
  name: string,
  limit: number,
  signal: AbortSignal,
  directory: string = CHECKS_DIRECTORY,
): Promise<string | undefined> {
  const end = await runTimed(`${directory}/${name}`, limit, signal);
  switch (end.kind) {
    case "exit":
      return end.status === 0 ? undefined : `exit status ${end.status}${said(end.lastLine)}`;
    case "signal":
      return `ended by ${end.signal}${said(end.lastLine)}`;
    case "timeout":
      return `no end after ${limit / 1000} s${said(end.lastLine)}`;
    case "unstartable":
      return `cannot be started: ${end.why}`;
  }
}

function said(line: string): string {
  return line === "" ? "" : `, it said: ${line}`;
}
