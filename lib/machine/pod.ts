/**
 * The pod that this program runs in: what is the pod's own and must be held, for afterwards the host's root is the only one there
 * is. Everything is a descriptor or a text, and no path.
 */
import { byteStringOf } from "../base/byte-string.ts";
import { type Mount, parseMountInfo } from "../formats/mountinfo.ts";
import { AT_FDCWD, hasErrno, type Kernel, O_DIRECTORY, O_PATH, O_TRUNC, O_WRONLY } from "../system/kernel.ts";
import { readTextFile } from "./files.ts";

/** What the service account may show to the cluster's API, and by what it knows that server. */
export interface ServiceAccount {
  token: string;
  /** PEM. */
  ca: string;
  namespace: string;
}

export interface Pod extends Disposable {
  /** The top directory of the pod's tree, as it is without what is mounted in it. */
  tree: number;
  mounts: readonly Mount[];
  /** Undefined where none is mounted. */
  account?: ServiceAccount;
  /** Files or directories with logins: what the Plan's `secrets` are mounted as. */
  secrets: readonly string[];
  /** Puts a last word where Kubernetes shows it: in the status of the container. */
  lastWord(text: string): void;
}

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
const SECRETS = "/run/system-upgrade/secrets";
const LAST_WORD = "/dev/termination-log";
/** Kubernetes keeps so much of it. Bytes. */
const MOST = 4096;

export function openPod(kernel: Kernel): Pod {
  const opened: number[] = [];
  const open = (path: string, flags: number): number | undefined => {
    try {
      const fd = kernel.openat(AT_FDCWD, byteStringOf(path), flags);
      opened.push(fd);
      return fd;
    } catch (thrown) {
      if (hasErrno(thrown, "ENOENT", "ENOTDIR", "EACCES", "EROFS")) return undefined;
      throw thrown;
    }
  };
  const tree = kernel.cloneTree("/");
  opened.push(tree);
  const log = open(LAST_WORD, O_WRONLY | O_TRUNC), secrets = open(SECRETS, O_PATH | O_DIRECTORY);
  return {
    tree,
    mounts: parseMountInfo(readTextFile("/proc/self/mountinfo") ?? ""),
    account: serviceAccount(),
    secrets: secrets === undefined ? [] : namesIn(SECRETS).map((name) => `/proc/self/fd/${secrets}/${name}`),
    lastWord: (text) => {
      const bytes = new TextEncoder().encode(text);
      if (log !== undefined) kernel.pwrite(log, bytes.subarray(0, MOST), 0);
    },
    [Symbol.dispose]: () => {
      for (const fd of opened) kernel.close(fd);
    },
  };
}

function serviceAccount(): ServiceAccount | undefined {
  const [token, ca, namespace] = ["token", "ca.crt", "namespace"].map((name) => readTextFile(`${ACCOUNT}/${name}`));
  if (token === undefined || ca === undefined || namespace === undefined) return undefined;
  return { token: token.trim(), ca, namespace: namespace.trim() };
}

function namesIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).filter((name) => !name.startsWith(".")).sort();
}
