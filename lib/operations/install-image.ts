/** The part that deploy and upgrade share: from a source to a complete, checked `transition.img`. */
import type { Digest } from "../base/digest.ts";
import type { Events } from "../base/events.ts";
import { type BootFiles, checkBootFiles, type OsRelease, readOsRelease } from "../boot/boot-files.ts";
import { marksItself } from "../boot/marks-itself.ts";
import type { DirectoryReference } from "../formats/reference.ts";
import { checkImage } from "../image/check.ts";
import { BackgroundFlush } from "../image/flush.ts";
import { makeImage, nominalSize, noSpace, RESERVE, SpaceWatch } from "../image/make.ts";
import { type MountedImage, mountImage } from "../image/mount.ts";
import { nextTime, sumAnew, timeOf } from "../image/resum.ts";
import { layerBytes, type ResolvedImage } from "../oci/pull.ts";
import { imagePath } from "../state/slots.ts";
import { byteStringOf } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { crc32 } from "../system/codecs.ts";
import { ContentSums } from "../system/content-sums.ts";
import { AT_FDCWD, BTRFS_MAGIC, hasErrno, type Kernel, O_DIRECTORY, O_RDONLY } from "../system/kernel.ts";
import { attachLoop, type LoopDevice } from "../system/loop.ts";
import { removeIfThere } from "../system/plain-files.ts";
import { Thread } from "../system/thread.ts";
import { TreeRoot } from "../system/tree-root.ts";
import { applyLayer } from "../unpack/apply-layer.ts";
import { copyTree } from "../unpack/copy-tree.ts";
import type { LayerDecoder } from "../unpack/decoder.ts";
import { DecoderThread } from "../unpack/decoder-thread.ts";
import { TreeWriter } from "../unpack/tree-writer.ts";
import { secondThread } from "./second-thread.ts";
import type { OwnTree } from "./own-tree.ts";
import type { Session } from "./session.ts";

export type Source =
  | { kind: "image"; image: ResolvedImage; name: string }
  | { kind: "directory"; reference: DirectoryReference; name: string; own?: OwnTree };

export interface InstallSettings {
  /** The least nominal size in bytes. */
  size: number;
  /** Whether a layer may put a directory over a link like /lib. */
  replaceDirectoryLinks: boolean;
  /** Of the filesystem; that of the active slot unless given. */
  label?: string;
  /** Gives the tree, once all layers are in it, the labels of SELinux; tells whether it did. */
  relabel?: (tree: TreeRoot, loop: LoopDevice) => Promise<boolean>;
  /** What is to be done in the tree behind that; tells whether it may have changed anything. */
  finishTree?: (tree: TreeRoot, loop: LoopDevice) => Promise<boolean>;
  /** What is to be done once the image is complete and checked; it is not written any more. */
  finished?: (loop: LoopDevice) => Promise<void>;
}

export interface InstalledImage {
  uuid: string;
  digest?: Digest;
  indexDigest?: Digest;
  os: OsRelease;
  bootFiles: BootFiles;
  entries: number;
  files: number;
  /** Bytes of the files' contents. */
  contentBytes: number;
  /** Paths that `finishTree` changed, the first of them. */
  changedAfterwards: string[];
  /** It has labels of SELinux that are not the image's own. */
  relabelled: boolean;
  /** It will say by itself that it runs well, so its tries may be counted. */
  marksItself: boolean;
}

/** Directories that a read-only system needs as mount points, with their modes; made where an image lacks them. */
const NEEDED: readonly (readonly [path: string, mode: number])[] = [
  ["boot", 0o755],
  ["dev", 0o755],
  ["oem", 0o755],
  ["proc", 0o555],
  ["run", 0o755],
  ["sys", 0o555],
  ["tmp", 0o1777],
  ["usr", 0o755],
  ["usr/local", 0o755],
];

/** Undefined for a directory of which nothing says what it is. */
export function sourceDigest(source: Source): Digest | undefined {
  return source.kind === "image" ? source.image.digest : source.own?.digest;
}

/** Compressed bytes of all layers; 0 for a directory. */
export function announcedBytes(source: Source): number {
  return source.kind === "image" ? source.image.manifest.layers.reduce((sum, { size }) => sum + size, 0) : 0;
}

/**
 * What cannot work is said before anything is begun: the files take at least as much space as the layers do compressed.
 * @param free bytes available on the partition. Throws `NO_SPACE`.
 */
export function checkSpace(source: Source, free: number, partition: string): void {
  const least = announcedBytes(source) + RESERVE;
  if (free < least) throw noSpace(partition, least, free, "at least ");
}

/**
 * Leaves a complete `transition.img` with the label of the active slot, flushed and read back; on any error nothing of it.
 */
export async function installImage(
  session: Session,
  source: Source,
  settings: InstallSettings,
  signal: AbortSignal,
): Promise<InstalledImage> {
  const { system, partition, events } = session, { kernel } = system;
  const free = kernel.fstatfs(partition.fd).available;
  checkSpace(source, free, partition.name);
  events({ kind: "phase", phase: "prepare", text: "Making the new image" });
  const uuid = crypto.randomUUID();
  const path = imagePath("transition");
  try {
    // Started first: its modules are loaded while the image is made.
    using thread = new Thread(secondThread());
    using file = await makeImage(system, partition.fd, path, {
      size: nominalSize(settings.size, announcedBytes(source), free),
      label: settings.label ?? session.look().state.slotLabels.active,
      uuid,
    });
    const sums = new ContentSums(await crc32());
    const written = await fill(session, source, file.fd, { ...settings, sums, thread }, signal);
    events({ kind: "phase", phase: "check", text: "Reading the new image back" });
    signal.throwIfAborted();
    const files = await checkImage(system, file.fd, sums, thread, signal);
    signal.throwIfAborted();
    if (settings.finished !== undefined) {
      using loop = attachLoop(system.kernel, system.pid, file.fd, { readOnly: true, name: "cos-finished" });
      await settings.finished(loop);
    }
    await session.checkpoint();
    const image = source.kind === "image" ? source.image : undefined;
    return { uuid, files, ...written, digest: sourceDigest(source), indexDigest: image?.indexDigest };
  } catch (thrown) {
    removeTransition(session);
    // A signal also ends the programs that were started: their failure is not the reason.
    throw signal.aborted ? signal.reason : thrown;
  }
}

/** Removes a `transition.img` that no slot shares. */
export function removeTransition({ system: { kernel }, partition }: Session): void {
  removeIfThere(kernel, partition.fd, imagePath("transition"));
}

async function fill(
  session: Session,
  source: Source,
  file: number,
  { sums, thread, replaceDirectoryLinks, relabel, finishTree }: InstallSettings & { sums: ContentSums; thread: Thread },
  signal: AbortSignal,
) {
  const { system, partition, events } = session, { kernel } = system;
  const warn = (text: string) => events({ kind: "warning", text });
  using mounted = mountImage(kernel, system.pid, file, {
    readOnly: false,
    // Btrfs keeps sums of its data, and a block that is changed while it is written makes them wrong.
    direct: kernel.fstatfs(partition.fd).type !== BTRFS_MAGIC,
    name: byteStringOf("cos-transition"),
  });
  const watch = new SpaceWatch(kernel, partition.fd, file, partition.name);
  const flush = new BackgroundFlush(kernel, mounted.fd, file);
  let contentBytes = 0;
  const writer = new TreeWriter(kernel, mounted.fd, {
    sums,
    warn,
    replaceDirectoryLinks,
    reserve: (bytes) => {
      contentBytes += bytes;
      watch.reserve(bytes);
      flush.wrote(bytes);
    },
  });
  try {
    if (source.kind === "image") await unpackLayers(source.image, writer, new DecoderThread(thread), events, signal);
    else await copyDirectory(session, source, writer, signal);
    writer.finish();
  } finally {
    writer.close();
    await flush.settle();
  }
  const tree = new TreeRoot(kernel, mounted.fd);
  try {
    for (const [path, mode] of NEEDED) makeDirectory(session, tree, path, mode);
    const finished = await finish(kernel, mounted, tree, sums, { relabel, finishTree });
    const bootFiles = checkBootFiles(tree, source.name), os = readOsRelease(tree);
    const marks = marksItself(kernel, tree);
    tree.forget();
    await flush.finish();
    return { os, bootFiles, entries: writer.entries, contentBytes, ...finished, marksItself: marks };
  } finally {
    tree.forget();
  }
}

async function finish(
  kernel: Kernel,
  { fd, loop }: MountedImage,
  tree: TreeRoot,
  sums: ContentSums,
  { relabel, finishTree }: Pick<InstallSettings, "relabel" | "finishTree">,
): Promise<Pick<InstalledImage, "changedAfterwards" | "relabelled">> {
  const start = timeOf(kernel, fd), relabelled = await relabel?.(tree, loop) ?? false;
  const behind = relabelled ? await nextTime(kernel, fd) : start, changed = await finishTree?.(tree, loop) ?? false;
  if (!relabelled && !changed) return { changedAfterwards: [], relabelled };
  // Directories may be others now.
  tree.forget();
  return { changedAfterwards: sumAnew(kernel, fd, sums, start, behind), relabelled };
}

async function unpackLayers(
  image: ResolvedImage,
  writer: TreeWriter,
  decoder: LayerDecoder,
  events: Events,
  signal: AbortSignal,
) {
  const { layers } = image.manifest, total = layers.reduce((sum, { size }) => sum + size, 0);
  events({ kind: "phase", phase: "unpack", text: "Pulling and unpacking" });
  let done = 0;
  for (const [index, layer] of layers.entries()) {
    signal.throwIfAborted();
    events({ kind: "layer", index, layers: layers.length, digest: layer.digest, bytes: layer.size });
    const counted = async function* () {
      for await (const chunk of layerBytes(image, layer, signal)) {
        done += chunk.length;
        events({ kind: "progress", done, total, layer: index, layers: layers.length, entries: writer.entries });
        yield chunk;
      }
    };
    const diffId = image.config.rootfs.diff_ids[index];
    if (diffId === undefined) throw new Error("the configuration names fewer layers than the manifest");
    const name = `layer ${index + 1} of ${image.source.name}`;
    const warn = (text: string) => events({ kind: "warning", text });
    await applyLayer({ index, name, diffId, bytes: counted() }, writer, decoder, warn);
  }
}

async function copyDirectory(
  session: Session,
  { reference: { path }, name, own }: Source & { kind: "directory" },
  writer: TreeWriter,
  signal: AbortSignal,
) {
  const { system: { kernel }, events } = session;
  events({ kind: "phase", phase: "unpack", text: `Copying ${name}` });
  const fd = own === undefined ? openDirectory(session, path) : kernel.openat(own.fd, ".", O_RDONLY | O_DIRECTORY);
  try {
    let done = 0, last = 0;
    await copyTree(kernel, fd, writer, {
      ...own !== undefined && { leaveOut: own.leaveOut, leaveOutXattrs: own.leaveOutXattrs, noMounts: true },
      warn: (text) => events({ kind: "warning", text }),
      entry: (bytes) => {
        done += bytes;
        if (++last % 256 !== 0) return;
        signal.throwIfAborted();
        events({ kind: "progress", done, total: 0, layer: 0, layers: 1, entries: writer.entries });
        // Copying is one long call otherwise: signals are only heard between turns of the event loop.
        return new Promise((resolve) => setTimeout(resolve, 0));
      },
    });
  } finally {
    kernel.close(fd);
  }
}

function openDirectory({ system: { kernel } }: Session, path: string): number {
  try {
    return kernel.openat(AT_FDCWD, byteStringOf(path), O_RDONLY | O_DIRECTORY);
  } catch (cause) {
    if (!hasErrno(cause, "ENOENT", "ENOTDIR")) throw cause;
    throw new CosError("IMAGE_NOT_FOUND", `Cannot find dir:${path}: there is no such directory.`, {
      hint: "Check the path.",
      cause,
    });
  }
}

/** With times that are the same on every machine, and the parent's as the image has it. */
function makeDirectory({ system: { kernel } }: Session, tree: TreeRoot, path: string, mode: number): void {
  if (tree.find(path) !== undefined) return;
  const slash = path.lastIndexOf("/"), name = path.slice(slash + 1);
  const parent = tree.find(path.slice(0, Math.max(slash, 0)));
  if (parent === undefined) return;
  const { mtime } = kernel.statat(parent.fd, ".");
  try {
    kernel.mkdirat(parent.fd, name, mode);
  } catch (thrown) {
    // A file or a dangling link in that place is the image's own decision.
    if (hasErrno(thrown, "EEXIST")) return;
    throw thrown;
  }
  kernel.utimensat(parent.fd, name, { seconds: 0, nanoseconds: 0 });
  kernel.utimensat(parent.fd, ".", mtime);
}
