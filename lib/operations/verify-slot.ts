/** `cos verify --slot`: an installed system, entry by entry, against the image that it claims to be. */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { type Compared, compareTrees } from "../image/compare.ts";
import { mountImage } from "../image/mount.ts";
import { parseReference } from "../formats/reference.ts";
import type { Verification } from "../formats/record.ts";
import { isDigest } from "../base/digest.ts";
import { imagePath } from "../state/slots.ts";
import type { Slot } from "../state/switch.ts";
import { O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { installImage, removeTransition, type Source, sourceDigest } from "./install-image.ts";
import { proveAndRemember } from "./prove.ts";
import { Session } from "./session.ts";
import { resolveSource } from "./source.ts";
import { recordOf } from "./trial.ts";
import type { ImageSettings } from "./upgrade.ts";

export interface VerifySlotSettings extends Omit<ImageSettings, "image"> {
  slot: Slot;
  /** Where the image is fetched from; the record says it otherwise. */
  image?: ImageSettings["image"];
}

export interface VerifiedSlot extends Compared {
  slot: Slot;
  image: string;
  digest?: string;
  /** Who vouches for the image now; absent where nobody does, or nobody was asked. */
  verification?: Verification;
}

/**
 * Pulls the image once more into a third one, compares the two, and removes it: it takes the time and space of an upgrade, and
 * changes neither slot. Throws `NO_FALLBACK` where the slot is empty, `IMAGE_NOT_FOUND` where nothing says what it is, and what
 * an upgrade throws.
 */
export async function verifySlot(
  system: System,
  settings: VerifySlotSettings,
  events: Events,
  signal: AbortSignal,
): Promise<VerifiedSlot> {
  await using session = await Session.open(system, settings, events);
  const { slot } = settings, view = session.look(), { kernel } = system;
  if (view.slots.names[slot] === undefined) throw empty(slot, session.partition.name);
  const known = recordOf(view, slot)?.image, image = settings.image ?? pinned(slot, known?.source, known?.digest);
  const source = await resolveSource(system, { ...settings, image }, signal), digest = sourceDigest(source);
  if (known?.digest !== undefined && digest !== known.digest) {
    events({
      kind: "warning",
      text: `The record says that ${slot} was installed from ${known.digest}; this is ${digest ?? "a directory"}.`,
    });
  }
  const verification = await vouched(session, source, { ...settings, image }, signal);
  try {
    await installImage(session, source, settings, signal);
    events({ kind: "phase", phase: "check", text: `Comparing ${imagePath(slot)} with it` });
    const open = (name: Slot | "transition") =>
      kernel.openat(session.partition.fd, imagePath(name), O_RDONLY | O_NOFOLLOW);
    const files = [open(slot), open("transition")] as const;
    try {
      using found = mountImage(kernel, system.pid, files[0], { readOnly: true, name: "cos-verify" });
      using wanted = mountImage(kernel, system.pid, files[1], { readOnly: true, name: "cos-verify" });
      const turn = async () => {
        signal.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, 0));
      };
      const passed = known?.relabelled === true ? ["security.selinux"] : [], skip = meant(known?.changedAfterwards);
      const compared = await compareTrees(kernel, found.fd, wanted.fd, skip, passed, turn);
      return { slot, image: source.name, digest, verification, ...compared };
    } finally {
      for (const fd of files) kernel.close(fd);
    }
  } finally {
    removeTransition(session);
  }
}

/** What hooks changed. What they removed leaves its directory changed, and no path of its own. */
function meant(changed: readonly string[] = []): (path: string, missing: boolean) => boolean {
  const paths = new Set(changed);
  return (path, missing) => paths.has(path) || missing && paths.has(path.slice(0, Math.max(path.lastIndexOf("/"), 0)));
}

/** By the digest that was installed: a tag may have moved since. */
function pinned(slot: Slot, source: string | undefined, digest: string | undefined): ImageSettings["image"] {
  if (source === undefined) {
    throw new CosError("IMAGE_NOT_FOUND", `Cannot verify the ${slot} system: nothing says which image it is.`, {
      hint: "Another tool made it. Name the image: cos verify --slot active IMAGE",
    });
  }
  const reference = parseReference(source);
  if (reference.kind !== "registry" || digest === undefined || !isDigest(digest)) return reference;
  // With the tag, which some signatures are made for.
  return { ...reference, digest };
}

/** Whether anybody vouches for the image is told beside the comparison, which is of use without it too. */
async function vouched(
  session: Session,
  source: Source,
  settings: ImageSettings,
  signal: AbortSignal,
): Promise<Verification | undefined> {
  try {
    return await proveAndRemember(session, source, settings, signal);
  } catch (thrown) {
    if (!(thrown instanceof CosError) || !["UNVERIFIED", "UNTRUSTED"].includes(thrown.code)) throw thrown;
    session.events({ kind: "warning", text: thrown.message });
    return undefined;
  }
}

function empty(slot: Slot, partition: string): CosError {
  return new CosError("NO_FALLBACK", `Cannot verify the ${slot} system on ${partition}: there is none.`, {
    hint: "See what is there with: cos status",
  });
}
