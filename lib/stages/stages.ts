/**
 * What a stage consists of: a runner of cloud-config stages, where there is one, and the executables of a directory. Each stage
 * has a `.before` and an `.after` of its own.
 */
import type { ByteString } from "../base/byte-string.ts";
import { displayName } from "../base/byte-string.ts";
import { AT_FDCWD, hasErrno, isRegular, type Kernel, O_DIRECTORY, O_RDONLY } from "../system/kernel.ts";
import { writableByOthers } from "../system/ownership.ts";
import type { TreeRoot } from "../system/tree-root.ts";

/** What a stage runs in: the host's own root, or a tree. */
export interface StageRoot {
  /** A directory, opened so that it can be read; the caller closes it. Undefined where there is none. */
  directory(path: ByteString): number | undefined;
  isProgram(path: ByteString): boolean;
  /** Where the path's last part leads, as it stands there; undefined where it is no link. */
  linkTarget(path: ByteString): ByteString | undefined;
}

/** Mounts are crossed here, and links followed. */
export function hostRoot(kernel: Kernel): StageRoot {
  const orMissing = <T>(look: () => T): T | undefined => {
    try {
      return look();
    } catch (thrown) {
      if (hasErrno(thrown, "ENOENT", "ENOTDIR", "ELOOP")) return undefined;
      throw thrown;
    }
  };
  return {
    directory: (path) => orMissing(() => kernel.openat(AT_FDCWD, `/${path}`, O_RDONLY | O_DIRECTORY)),
    isProgram: (path) => orMissing(() => isRegular(kernel.statat(AT_FDCWD, `/${path}`, true))) === true,
    linkTarget: (path) => linkAt(kernel, AT_FDCWD, `/${path}`),
  };
}

export function treeRoot(kernel: Kernel, tree: TreeRoot): StageRoot {
  return {
    directory: (path) => {
      const found = tree.find(path);
      // The tree's own descriptors cannot be read from (O_PATH).
      return found === undefined ? undefined : kernel.openat(found.fd, ".", O_RDONLY | O_DIRECTORY);
    },
    isProgram: (path) => (tree.sizeOf(path) ?? 0) > 0,
    linkTarget: (path) => {
      const slash = path.lastIndexOf("/"), parent = tree.find(path.slice(0, Math.max(slash, 0)));
      return parent === undefined ? undefined : linkAt(kernel, parent.fd, path.slice(slash + 1));
    },
  };
}

function linkAt(kernel: Kernel, dir: number, path: ByteString): ByteString | undefined {
  try {
    return kernel.readlinkat(dir, path);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR", "ELOOP", "EINVAL")) return undefined;
    throw thrown;
  }
}

export interface StageProgram {
  /** For people: `cos-setup after-upgrade.before`, `/etc/cos/hooks/after-upgrade.d/10-x`. */
  name: string;
  /** Absolute within the tree. */
  program: string;
  args: readonly string[];
}

export interface StagePlan {
  programs: StageProgram[];
  /** What is there and is not run, and why. */
  refused: string[];
}

const HOOKS = "etc/cos/hooks";
/** In the order of their generations; yip itself needs to be told where to look. */
const RUNNERS: { path: string; args(stage: string, places: readonly string[]): string[] }[] = [
  { path: "usr/bin/cos-setup", args: (stage) => [stage] },
  { path: "usr/bin/elemental", args: (stage) => ["run-stage", stage] },
  { path: "usr/bin/yip", args: (stage, places) => ["-s", stage, ...places] },
];
const PLACES = ["system/oem", "oem", "usr/local/cloud-config"];

/** @param more where cloud-config lies besides, as absolute paths. */
export function planStage(kernel: Kernel, root: StageRoot, stage: string, more: readonly string[]): StagePlan {
  const programs: StageProgram[] = [], refused: string[] = [];
  const named = new Set([...PLACES, ...more.map((path) => path.replace(/^\/+|\/+$/g, ""))]);
  const places = [...named].filter((path) => {
    const fd = root.directory(path);
    if (fd !== undefined) kernel.close(fd);
    return fd !== undefined;
  });
  // This program under the name of a runner runs no stages.
  const isOurs = (path: string) => root.linkTarget(path)?.split("/").at(-1) === "cos";
  const runner = places.length === 0 ? undefined : RUNNERS.find(({ path }) => root.isProgram(path) && !isOurs(path));
  const run = (name: string) => {
    if (runner === undefined) return;
    const args = runner.args(name, places.map((path) => `/${path}`)), words = args.slice(0, 2).join(" ");
    programs.push({ name: `${runner.path.split("/").at(-1)} ${words}`, program: `/${runner.path}`, args });
  };
  run(`${stage}.before`);
  run(stage);
  for (const name of hookNames(kernel, root, stage, refused)) {
    const program = `/${HOOKS}/${stage}.d/${name}`;
    programs.push({ name: program, program, args: [] });
  }
  run(`${stage}.after`);
  return { programs, refused };
}

/** Executables in the order of their names, as the operator's checks: root's own, with plain names. */
function hookNames(kernel: Kernel, root: StageRoot, stage: string, refused: string[]): ByteString[] {
  const path = `${HOOKS}/${stage}.d`, fd = root.directory(path);
  if (fd === undefined) return [];
  try {
    const why = writableByOthers(kernel.fstat(fd));
    if (why !== undefined) {
      refused.push(`/${path} is not looked into: it ${why}`);
      return [];
    }
    const names = kernel.readDirectory(fd).map(({ name }) => name).filter((name) => !name.startsWith(".")).sort();
    return names.filter((name) => {
      const reason = notRun(kernel, fd, name);
      if (reason !== undefined) refused.push(`/${path}/${displayName(name)} is not run: it ${reason}`);
      return reason === undefined;
    });
  } finally {
    kernel.close(fd);
  }
}

function notRun(kernel: Kernel, directory: number, name: ByteString): string | undefined {
  if (!/^[\x21-\x7e]+$/.test(name)) return "has no plain name";
  // A link may lead anywhere: also out of the tree, to what others can write.
  const status = kernel.statat(directory, name);
  if (!isRegular(status)) return "is no regular file";
  if ((status.mode & 0o111) === 0) return "is not executable";
  return writableByOthers(status);
}
