/** Independent programs that unpack layers, and where each of them put the tree. */
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { disposable, scratchDirectory } from "./cleanup.ts";
import { run, type RunOptions } from "./run.ts";
import { listTree, type TreeEntry } from "./tree.ts";

/** Debian packages that they come in. */
export const PEER_PACKAGES = ["libpython3.11-testsuite", "podman", "python3", "tar", "umoci"];

export const PYTHON = "/usr/bin/python3";

/** With the usual umask: the program that is tested takes its own away, and would hand that on. */
function peer(program: string, args: string[], options: RunOptions = {}): Promise<string> {
  return run("sh", ["-c", 'umask 022; exec "$@"', "sh", program, ...args], options);
}

/** umoci: an independent unpacker of OCI layers; no zstd. */
export async function umociUnpack(layout: string, tag: string, directory: string): Promise<void> {
  await peer("umoci", ["raw", "unpack", "--image", `${layout}:${tag}`, directory]);
}

/** podman: containers/storage as container hosts use it, with the kernel's overlayfs over one directory a layer. */
export async function podmanTree(layout: string, tag: string): Promise<TreeEntry[]> {
  await using scratch = scratchDirectory("podman");
  await using storage = podmanStorage(join(scratch.path, "storage"));
  const id = await storage.pull(layout, tag);
  return await listTree((await storage.podman("image", "mount", id)).trim());
}

export interface PodmanStorage extends AsyncDisposable {
  podman(...args: string[]): Promise<string>;
  /** The image's id. */
  pull(layout: string, tag: string): Promise<string>;
}

/** A storage of its own in that directory, which is made: `storage.conf` in it names it, and `run` is its XDG_RUNTIME_DIR. */
export function podmanStorage(directory: string): PodmanStorage {
  mkdirSync(directory);
  const at = (name: string) => join(directory, name);
  writeFileSync(
    at("storage.conf"),
    `[storage]\ndriver = "overlay"\nrunroot = "${at("run")}"\ngraphroot = "${at("graph")}"\n`,
  );
  writeFileSync(at("policy.json"), JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  const env = { CONTAINERS_STORAGE_CONF: at("storage.conf"), XDG_RUNTIME_DIR: at("run"), TMPDIR: directory };
  mkdirSync(at("run"));
  const podman = (cwd: string, args: readonly string[]) => peer("podman", ["--log-level=error", ...args], { env, cwd });
  const { close } = disposable(async () => {
    await run("podman", ["image", "unmount", "--all", "--force"], { env, undoing: true });
    // The driver leaves its own directory mounted over itself.
    await run("sh", ["-c", 'umount "$1" 2>/dev/null || :', "sh", at("graph/overlay")], { undoing: true });
  });
  return {
    podman: (...args) => podman(directory, args),
    pull: async (layout, tag) => {
      // It makes a name of the layout's path, and names hold no capital letters: the path is given from where the layout lies.
      const words = ["pull", "--quiet", "--signature-policy", at("policy.json"), `oci:${basename(layout)}:${tag}`];
      return (await podman(dirname(layout), words)).trim();
    },
    [Symbol.asyncDispose]: close,
  };
}

/** GNU tar, for one archive without markers. It warns by its exit code 1, which counts as success. */
export async function gnuTree(archive: string, directory: string): Promise<TreeEntry[]> {
  mkdirSync(directory);
  const options = [
    "--extract",
    "--file",
    archive,
    "--directory",
    directory,
    "--preserve-permissions",
    "--numeric-owner",
  ];
  await peer("tar", [
    ...options,
    "--same-owner",
    "--xattrs",
    "--xattrs-include=*",
    "--acls",
    "--keep-directory-symlink",
  ]);
  return await listTree(directory);
}

const EXTRACT = `
import sys, tarfile
with tarfile.open(sys.argv[1], "r:", encoding="utf-8", errors="surrogateescape") as tar:
    # Newer versions refuse what a system is made of, unless told otherwise.
    tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
    tar.extractall(sys.argv[2], numeric_owner=True)
`;

/**
 * Python's tarfile, for one archive without markers; it knows no extended attributes, and no times of links.
 * An absolute name leads out of the directory: none may be in the archive.
 */
export async function tarfileTree(archive: string, directory: string): Promise<TreeEntry[]> {
  mkdirSync(directory);
  await peer(PYTHON, ["-c", EXTRACT, archive, directory]);
  return await listTree(directory);
}

/** The trees that the model (`layer_model.py`) makes of images, by name; the archives are files, uncompressed. */
export async function modelTrees(images: { name: string; archives: string[] }[]): Promise<Map<string, ModelEntry[]>> {
  const input = images.map(({ name, archives }) => [name, ...archives].join("\t")).join("\n");
  const output = await run(PYTHON, [join(import.meta.dirname ?? ".", "layer_model.py")], { input });
  const trees = new Map<string, ModelEntry[]>();
  let tree: ModelEntry[] = [];
  for (const line of output.split("\n")) {
    if (line.startsWith("# ")) trees.set(line.slice(2), tree = []);
    else if (line !== "") tree.push(JSON.parse(line));
  }
  return trees;
}

/** An entry whose time may be nobody's: then it is null. */
export type ModelEntry = Omit<TreeEntry, "mtime"> & { mtime: string | null };

/** The model's tree for comparison with one: a time that no entry says is taken from there. */
export function withTimesOf(tree: TreeEntry[], model: ModelEntry[]): TreeEntry[] {
  const times = new Map(tree.map(({ path, mtime }) => [path, mtime]));
  return model.map((entry) => ({ ...entry, mtime: entry.mtime ?? times.get(entry.path) ?? "" }));
}

/** What is not compared of a peer's times. */
export interface Times {
  /** The peer sets no times of links. */
  links?: boolean;
  /** The peer changes a directory's time again when the archive comes back to it: umoci, and GNU tar, which sets it when it leaves. */
  directories?: boolean;
}

/** Their tree, where an entry has the time at which it was made with ours in its place: none is told for a directory that is implied. */
export function withOurTimes(ours: TreeEntry[], theirs: TreeEntry[], spared: Times = {}): TreeEntry[] {
  const recent = BigInt(Date.now() - 24 * 3600 * 1000) * 1_000_000n;
  const times = new Map(ours.map(({ path, mtime }) => [path, mtime]));
  return theirs.map((entry) => {
    const own = times.get(entry.path) ?? "0";
    const implied = entry.type === "directory" && (spared.directories === true || own === "0");
    const untold = implied || (entry.type === "symlink" && spared.links === true);
    return untold && BigInt(entry.mtime) > recent ? { ...entry, mtime: own } : entry;
  });
}
