/**
 * `cos boot root`: the root's image, mounted by an initramfs. Kernel and root come from one image, whatever its name is by now;
 * where it is broken, the other system is reached.
 */
import { CosError, messageOf } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { byteStringOf } from "../base/byte-string.ts";
import { type MountedImage, mountImage } from "../image/mount.ts";
import { readTextFile } from "../machine/files.ts";
import { type RootCandidate, rootCandidates, type RootRequest, rootRequest, SLOT_FILE } from "../machine/root-image.ts";
import { INITRAMFS_STATE, openStatePartition, showAt } from "../machine/state-partition.ts";
import { planRepair } from "../state/switch.ts";
import { O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { TreeRoot } from "../system/tree-root.ts";
import { fitsKernel, startsSomething } from "../boot/root-tree.ts";
import { findRootPartition } from "./root-partition.ts";
import { beginBootWatch } from "./boot-watch.ts";
import { look, Session, tornImages, type View } from "./session.ts";

export interface RootSettings {
  /** Where the root is mounted: a directory. */
  target: string;
  /** Seconds that disks are waited for. */
  wait: number;
}

export interface MountedRoot {
  /** The image's file, as the state partition names it now. */
  file: string;
  uuid?: string;
  why: RootCandidate["why"];
  partition: string;
  /** The running kernel's modules are in it; undefined where the image has no modules at all. */
  fitsKernel?: boolean;
}

interface Opened extends Disposable {
  candidate: RootCandidate;
  image: MountedImage;
  fits: boolean | undefined;
}

/**
 * Mounts the root read-only at `target`, and its partition at `/run/initramfs/cos-state`. Throws `NOT_IMAGE_BASED`,
 * `IMAGE_DAMAGED`, and `REBOOT_FIRST` where GRUB has to choose another image, which it will do at the next boot.
 */
export async function bootRoot(
  system: System,
  settings: RootSettings,
  events: Events,
  signal: AbortSignal,
): Promise<MountedRoot> {
  const request = requestOfThisBoot();
  mark(request);
  beginBootWatch(system, request, events);
  using found = await findRootPartition(system, request, settings.wait, events, signal);
  const { partition } = found, state = partition.mountPoint ?? INITRAMFS_STATE;
  if (partition.mountPoint === undefined) {
    Deno.mkdirSync(INITRAMFS_STATE, { recursive: true });
    showAt(system.kernel, partition, INITRAMFS_STATE);
  }
  const isSlot = SLOT_FILE.test(request.file);
  const repairWhere = async (wanted: (view: View) => boolean) => {
    if (isSlot) await repairOnTheWay(system, state, events, wanted);
  };
  // What a cut has torn cannot be mounted. All else waits until the kernel's image is in use: its last name is then kept.
  await repairWhere(({ slots }) => tornImages(slots).length > 0);
  using chosen = openBest(system, partition.fd, request, rootCandidates(request, found.images), events);
  if (chosen === undefined) throw noneBoots(partition.name, request.file);
  const { candidate: { file, uuid, why }, image, fits } = chosen;
  if (why === "other" && await restsOnFallback(system, state, request, events) && fits === false) {
    throw new CosError("REBOOT_FIRST", `${request.file} does not boot; GRUB starts the other system from now on.`, {
      hint: "Reboot: kernel and root then come from one image.",
    });
  }
  Deno.mkdirSync(settings.target, { recursive: true });
  const options = { readOnly: true, attributes: 0 };
  system.kernel.mountAt(byteStringOf(settings.target), "ext4", image.loop.path, options);
  await repairWhere((view) => planRepair(view.state).length > 0);
  return { file, uuid, why, partition: partition.name, fitsKernel: fits };
}

/** What older tools and stages of cloud-config look at: `/run/cos/active_mode` and its like, after the entry. */
function mark({ file }: RootRequest): void {
  const mode = /(active|passive|recovery)[^/]*$/.exec(file)?.[1];
  if (mode === undefined) return;
  Deno.mkdirSync("/run/cos", { recursive: true });
  Deno.writeTextFileSync(`/run/cos/${mode}_mode`, "1\n");
}

function requestOfThisBoot(): RootRequest {
  const request = rootRequest(readTextFile("/proc/cmdline") ?? "");
  if (request !== undefined) return request;
  throw new CosError("NOT_IMAGE_BASED", "The kernel's command line names no image (cos-img/filename=) as the root.", {
    hint: "This command is for an initramfs of an image-based system.",
  });
}

/**
 * The first candidate that the kernel came from, or that holds its modules; else the first that is whole. Loops and mounts of
 * the others are gone again.
 */
function openBest(
  system: System,
  state: number,
  request: RootRequest,
  candidates: readonly RootCandidate[],
  events: Events,
): Opened | undefined {
  const release = readTextFile("/proc/sys/kernel/osrelease")?.trim() ?? "";
  using stack = new DisposableStack();
  const whole: Opened[] = [];
  let best: Opened | undefined = undefined;
  for (const candidate of candidates) {
    const opened = open(system, state, candidate, release, events);
    if (opened === undefined) continue;
    stack.defer(() => {
      if (opened !== best) opened[Symbol.dispose]();
    });
    whole.push(opened);
    if (candidate.why === "kernel" || opened.fits !== false) break;
  }
  best = whole.find(({ candidate, fits }) => candidate.why === "kernel" || fits !== false) ?? whole[0];
  if (best?.fits === false && best.candidate.why !== "kernel") {
    events({
      kind: "warning",
      text: `${best.candidate.file} has no modules for this kernel (${release}), and no image that boots has them.`,
    });
  } else if (best !== undefined && best.candidate.file !== request.file) {
    events({ kind: "warning", text: `The root is ${best.candidate.file}, not ${request.file}.` });
  }
  return best;
}

/** Undefined for an image that does not mount, or holds nothing to start. */
function open(
  system: System,
  state: number,
  candidate: RootCandidate,
  release: string,
  events: Events,
): Opened | undefined {
  const { kernel, pid } = system,
    broken = (why: string) => {
      events({ kind: "warning", text: `${candidate.file} does not boot: ${why}.` });
      return undefined;
    };
  let image: MountedImage;
  try {
    const fd = kernel.openat(state, candidate.file.slice(1), O_RDONLY | O_NOFOLLOW);
    try {
      image = mountImage(kernel, pid, fd, { readOnly: true, name: candidate.file });
    } finally {
      kernel.close(fd);
    }
  } catch (thrown) {
    return broken(messageOf(thrown));
  }
  const tree = new TreeRoot(kernel, image.fd);
  try {
    if (startsSomething(tree)) {
      return { candidate, image, fits: fitsKernel(kernel, tree, release), [Symbol.dispose]: image[Symbol.dispose] };
    }
  } catch (thrown) {
    image[Symbol.dispose]();
    return broken(messageOf(thrown));
  } finally {
    tree.forget();
  }
  image[Symbol.dispose]();
  return broken("it has no init");
}

/**
 * The active image is broken, so GRUB must not choose it again: its tries are used up. False where GRUB does not count, or
 * where it has come here from the fallback entry.
 */
async function restsOnFallback(system: System, state: string, { file }: RootRequest, events: Events): Promise<boolean> {
  if (!file.endsWith("/active.img")) return false;
  try {
    await using session = await Session.open(system, { state }, events);
    if (!session.look().state.counts) return false;
    await session.run([{ do: "tries", value: "0" }]);
    return true;
  } catch (thrown) {
    events({ kind: "warning", text: `Could not tell GRUB: ${messageOf(thrown)}.` });
    return false;
  }
}

/** What a cut has left is mended now, before anything runs; a boot never fails for it. Nothing is written where all is well. */
async function repairOnTheWay(
  system: System,
  state: string,
  events: Events,
  wanted: (view: View) => boolean,
): Promise<void> {
  try {
    using partition = openStatePartition(system, state, false);
    if (!wanted(look(system, partition))) return;
    await using _session = await Session.open(system, { state }, events);
  } catch (thrown) {
    events({ kind: "warning", text: `Could not mend it now: ${messageOf(thrown)}.` });
  }
}

function noneBoots(partition: string, file: string): CosError {
  return new CosError("IMAGE_DAMAGED", `No image beside ${file} on ${partition} can be mounted and started.`, {
    hint: "Boot the recovery system, or a live CD, and run: cos upgrade IMAGE",
  });
}
