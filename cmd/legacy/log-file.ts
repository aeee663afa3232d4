/** `--logfile`: what a run says is appended to a file as well, also what `--quiet` keeps from the terminal. */
import { byteStringOf } from "../../lib/base/byte-string.ts";
import { asCosError, messageOf } from "../../lib/base/errors.ts";
import { AT_FDCWD, isRegular, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } from "../../lib/system/kernel.ts";
import { renderError } from "../../lib/ui/errors.ts";
import { eventLine, logLine } from "../../lib/ui/log-lines.ts";
import type { Job } from "../context.ts";

/** A log that cannot be written is a warning, once: it stops nothing. */
export async function withLogFile<T>(job: Job, path: string, work: (job: Job) => Promise<T>): Promise<T> {
  const { system: { kernel, now } } = job;
  let fd: number | undefined;
  const orWarn = (write: () => void) => {
    try {
      write();
    } catch (thrown) {
      if (fd !== undefined) kernel.close(fd);
      fd = undefined;
      job.events({ kind: "warning", text: `Nothing is logged to ${path}: ${messageOf(thrown)}.` });
    }
  };
  // In /tmp somebody else may have put a link or a pipe in its place.
  orWarn(() => {
    fd = kernel.openat(AT_FDCWD, byteStringOf(path), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o640);
    const status = kernel.fstat(fd);
    if (!isRegular(status)) throw new Error("it is no regular file");
    if (status.uid !== 0 || status.nlink !== 1) throw new Error("it is not root's alone");
  });
  const append = (line: string | undefined) => {
    if (line === undefined || fd === undefined) return;
    const to = fd;
    orWarn(() => kernel.write(to, new TextEncoder().encode(line)));
  };
  try {
    return await work({
      ...job,
      events: (event) => {
        job.events(event);
        append(eventLine(event, now()));
      },
      print: (text) => {
        job.print(text);
        append(logLine("info", text, now()));
      },
    });
  } catch (thrown) {
    append(logLine("error", renderError(asCosError(thrown), true), now()));
    throw thrown;
  } finally {
    if (fd !== undefined) kernel.close(fd);
  }
}
