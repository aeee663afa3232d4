/**
 * A watchdog that ends a boot which hangs (Linux, Documentation/watchdog/watchdog-api.rst). It is started and then left alone:
 * closed without the letter that would stop it, it runs on, and resets the machine unless somebody stops it in time. systemd
 * takes it over where RuntimeWatchdogSec= says so.
 */
import { hasErrno, type Kernel, O_WRONLY, S_IFCHR } from "./kernel.ts";
import { openNode } from "./device-node.ts";

const CLASS = "/sys/class/watchdog";
/** _IOWR('W', 6, int) */
const WDIOC_SETTIMEOUT = 0xc0045706;
/** "Magic close": the last byte written before closing (same page, section "Magic Close feature"). */
const STOP = new TextEncoder().encode("V");
const SOFTWARE = "Software Watchdog";

interface Watchdog {
  name: string;
  major: number;
  minor: number;
  identity: string;
  /** Once started, nothing stops it but being fed. */
  unstoppable: boolean;
}

/**
 * Starts the first watchdog that can wait so long, hardware before software. Returns its name, for `stopWatchdog`; undefined
 * where there is none that could be stopped again.
 */
export function startWatchdog(kernel: Kernel, pid: number, seconds: number): string | undefined {
  for (const watchdog of watchdogs()) {
    if (watchdog.unstoppable) continue;
    let node;
    try {
      node = open(kernel, pid, watchdog);
    } catch (thrown) {
      // Somebody feeds it already, or the hardware is not there after all.
      if (hasErrno(thrown, "EBUSY", "ENODEV", "ENXIO", "ENOENT", "EIO")) continue;
      throw thrown;
    }
    try {
      const timeout = new Uint8Array(4), view = new DataView(timeout.buffer);
      view.setInt32(0, seconds, true);
      try {
        kernel.ioctl(node.fd, WDIOC_SETTIMEOUT, timeout);
        if (view.getInt32(0, true) >= seconds) return watchdog.name;
      } catch (thrown) {
        if (!hasErrno(thrown, "EINVAL", "ENOTTY", "EOPNOTSUPP")) throw thrown;
      }
      // It would reset a boot that is only slow.
      kernel.write(node.fd, STOP);
    } finally {
      node[Symbol.dispose]();
    }
  }
  return undefined;
}

/** Nothing where it cannot be stopped from here: systemd feeds it, or it is gone. */
export function stopWatchdog(kernel: Kernel, pid: number, name: string): void {
  const watchdog = watchdogs().find((one) => one.name === name);
  if (watchdog === undefined) return;
  let node;
  try {
    node = open(kernel, pid, watchdog);
  } catch (thrown) {
    if (hasErrno(thrown, "EBUSY", "ENODEV", "ENXIO")) return;
    throw thrown;
  }
  try {
    kernel.write(node.fd, STOP);
  } finally {
    node[Symbol.dispose]();
  }
}

function open(kernel: Kernel, pid: number, { name, major, minor }: Watchdog) {
  return openNode(kernel, pid, name, S_IFCHR, major, minor, O_WRONLY);
}

function watchdogs(): Watchdog[] {
  let names: string[];
  try {
    names = [...Deno.readDirSync(CLASS)].map(({ name }) => name).sort();
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return [];
    throw thrown;
  }
  const read = (name: string, what: string) => {
    try {
      return Deno.readTextFileSync(`${CLASS}/${name}/${what}`).trim();
    } catch (thrown) {
      // Kernels built without CONFIG_WATCHDOG_SYSFS tell only the number.
      if (thrown instanceof Deno.errors.NotFound) return "";
      throw thrown;
    }
  };
  const found = names.flatMap((name) => {
    const [major, minor] = read(name, "dev").split(":").map(Number);
    if (major === undefined || minor === undefined) return [];
    return { name, major, minor, identity: read(name, "identity"), unstoppable: read(name, "nowayout") === "1" };
  });
  return found.sort((a, b) => Number(a.identity === SOFTWARE) - Number(b.identity === SOFTWARE));
}
