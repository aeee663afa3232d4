/**
 * A process that becomes another program: with the mask and signals that programs expect, and where it is told so, in a mount
 * namespace and below a root of its own. What is mounted there is seen by nobody else, and goes with the last process in it.
 */
import { SystemCallError } from "../base/errors.ts";
import { byteStringOf, writeBytes } from "../base/byte-string.ts";
import { errnoName } from "./errno.ts";
import { LinuxKernel } from "./linux-kernel.ts";

/** The hidden first word that makes the program a room; then comes the description as JSON. */
export const ROOM_COMMAND = "internal-room";

export interface Room {
  program: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Mounts that only this room has. */
  private?: {
    /** A device with an ext filesystem, and the directory where it is mounted. */
    image: { device: string; at: string; readOnly: boolean };
    /** What is seen again below `at`, with all that is mounted in it. */
    binds: readonly { from: string; to: string }[];
    /** The image is the root. */
    change: boolean;
  };
}

/** Begins the line that tells the namespace, before anything that the program prints. */
export const NAMESPACE_LINE = "cos-room ";
/** The status of a room that could not be made. */
export const NO_ROOM = 125;

const CLONE_NEWNS = 0x20000, MS_BIND = 0x1000n, MS_REC = 0x4000n, MS_PRIVATE = 0x40000n;
const SIGPIPE = 13, SIG_DFL = 0n;

const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },
  unshare: { parameters: ["i32"], result: "i32" },
  mount: { parameters: ["buffer", "buffer", "buffer", "u64", "buffer"], result: "i32" },
  chdir: { parameters: ["buffer"], result: "i32" },
  umask: { parameters: ["u32"], result: "u32" },
  signal: { parameters: ["i32", "u64"], result: "u64" },
  execve: { parameters: ["buffer", "buffer", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Returns only where the program could not be started. */
export function enterRoom(description: string): number {
  const { program, args, env, private: own } = JSON.parse(description) as Room;
  try {
    const c = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
    const refused = (call: string, subject: string) => {
      const place = c.__errno_location();
      if (place === null) throw new Error("the C library has no errno");
      return new SystemCallError(errnoName(new Deno.UnsafePointerView(place).getInt32()), call, subject);
    };
    const must = (result: number, call: string, subject: string) => {
      if (result !== 0) throw refused(call, subject);
    };
    if (own !== undefined) {
      // Opened before the mask is set back: it takes the mask away.
      const kernel = new LinuxKernel(), { image: { device, at, readOnly }, binds } = own;
      must(c.unshare(CLONE_NEWNS), "unshare", "mounts");
      must(c.mount(text("none"), text("/"), null, MS_REC | MS_PRIVATE, null), "mount", "/");
      kernel.mountAt(byteStringOf(at), "ext4", byteStringOf(device), { readOnly, attributes: 0 });
      for (const { from, to } of binds) {
        must(c.mount(text(from), text(`${at}${to}`), null, MS_BIND | MS_REC, null), "mount", to);
      }
      Deno.stdout.writeSync(text(`${NAMESPACE_LINE}${Deno.readLinkSync("/proc/self/ns/mnt")}\n`).subarray(0, -1));
      if (own.change) kernel.chroot(byteStringOf(at));
    }
    must(c.chdir(text("/")), "chdir", "/");
    c.umask(0o022);
    // The runtime ignores it, and what is ignored stays so: a pipeline in the program would not end.
    c.signal(SIGPIPE, SIG_DFL);
    const argv = pointers([program, ...args]), environment = pointers(Object.entries(env).map(([k, v]) => `${k}=${v}`));
    c.execve(text(program), argv.list, environment.list);
    throw refused("execve", program);
  } catch (thrown) {
    console.error(thrown instanceof Error ? thrown.message : String(thrown));
    return NO_ROOM;
  }
}

function text(value: string): Uint8Array<ArrayBuffer> {
  const bytes = byteStringOf(value), buffer = new Uint8Array(bytes.length + 1);
  writeBytes(bytes, buffer);
  return buffer;
}

/** A list of pointers that ends with a null one; `texts` must live as long as it. */
function pointers(values: readonly string[]): { list: BigUint64Array<ArrayBuffer>; texts: Uint8Array[] } {
  const texts = values.map(text), list = new BigUint64Array(values.length + 1);
  for (const [i, one] of texts.entries()) list[i] = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(one)));
  return { list, texts };
}
