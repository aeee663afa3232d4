/** One boot into another system, by the menu's own means: GRUB's `next_entry`. */
import { CosError, messageOf } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { GRUB_ENV_FILE, newGrubEnv, readNextEntry, writeNextEntry } from "../boot/next-entry.ts";
import type { StatePartition } from "../machine/state-partition.ts";
import { replaceFile } from "../state/plain-file.ts";
import { makeWritable } from "../state/writable.ts";
import { checkpoint } from "../system/checkpoint.ts";
import type { Kernel } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { openNamed } from "./labels.ts";
import { noteOperation } from "./record-keeping.ts";
import { findRecovery } from "./recovery-system.ts";
import { Session, type StateOptions } from "./session.ts";

export type Target = "active" | "passive" | "recovery";

/** The menu's entries, in all of its versions. */
const ENTRIES: Record<Target, string> = { active: "cos", passive: "fallback", recovery: "recovery" };

/** Throws `NO_FALLBACK`, `INCOMPLETE_SYSTEM`, `CONFIGURATION`. */
export async function bootOnceInto(
  system: System,
  options: StateOptions,
  target: Target,
  events: Events,
): Promise<void> {
  await using session = await Session.open(system, options, events);
  session.inspect();
  refuseTarget(session, target);
  const { kernel } = system, { partition } = session;
  using oem = openNamed(system, partition, "oem", true);
  const place = oem !== undefined && readNextEntry(kernel, oem.fd) === undefined &&
      readNextEntry(kernel, partition.fd) !== undefined
    ? partition
    : oem ?? partition;
  // The state partition is writable for as long as the session lasts.
  using _ = place === partition ? undefined : makeWritable(kernel, place, (text) => events({ kind: "warning", text }));
  const settle = () => place === partition ? session.checkpoint() : settled(kernel, place);
  switch (writeNextEntry(kernel, place.fd, ENTRIES[target])) {
    case "written":
      await settle();
      break;
    case "absent":
      await replaceFile(kernel, place.fd, GRUB_ENV_FILE, newGrubEnv(ENTRIES[target]), settle);
      break;
    case "unfit":
      throw new CosError(
        "CONFIGURATION",
        `Cannot choose the next boot's entry: ${GRUB_ENV_FILE} on ${place.name} is no block, or full.`,
        {
          hint: "Choose the entry in the boot menu by hand, or mend the file with grub-editenv.",
        },
      );
  }
  const at = new Date(system.now()).toISOString();
  noteOperation(session, { kind: "reboot", at, outcome: `once into ${target}` });
}

/** What a boot loader could not clear (a filesystem that it cannot write) would choose every boot from now on. */
export async function clearNextEntry(session: Session): Promise<void> {
  const { system: { kernel }, partition, events } = session;
  try {
    const isStale = ({ fd }: StatePartition) => (readNextEntry(kernel, fd) ?? "") !== "";
    if (isStale(partition)) {
      writeNextEntry(kernel, partition.fd, "");
      await session.checkpoint();
    }
    {
      // Looked at without writing first: at most boots there is nothing to do.
      using oem = openNamed(session.system, partition, "oem", false);
      if (oem === undefined || !isStale(oem)) return;
    }
    using oem = openNamed(session.system, partition, "oem", true);
    if (oem === undefined) return;
    using _ = makeWritable(kernel, oem, (text) => events({ kind: "warning", text }));
    writeNextEntry(kernel, oem.fd, "");
    await settled(kernel, oem);
  } catch (thrown) {
    events({ kind: "warning", text: `Could not clear the entry of a single boot (next_entry): ${messageOf(thrown)}.` });
  }
}

/** For a partition that nobody's root lies on. */
async function settled(kernel: Kernel, { fd, type }: StatePartition): Promise<void> {
  await checkpoint(kernel, fd, type, () => Promise.resolve(false));
}

function refuseTarget(session: Session, target: Target): void {
  const { state, partition } = session.look(), { names, images, matchesLabels } = state;
  if (target === "recovery") {
    using recovery = openNamed(session.system, partition, "recovery", false);
    if (recovery !== undefined && findRecovery(session.system.kernel, recovery.fd) !== undefined) return;
    throw none(target, "there is no recovery system on this disk");
  }
  const id = names[target];
  if (id === undefined) throw none(target, `there is no ${target}.img`);
  if (names.active === names.passive && target === "passive" && matchesLabels) {
    throw none(target, "active and passive are one image, and the fallback entry looks for another label");
  }
  if (images.get(id)?.broken === true) {
    throw new CosError("INCOMPLETE_SYSTEM", `Cannot boot into ${target}: it could not boot.`, {
      hint:
        "It is damaged, or has no kernel, initrd or boot arguments; put a whole system in its place with: cos upgrade IMAGE",
    });
  }
}

function none(target: Target, why: string): CosError {
  return new CosError("NO_FALLBACK", `Cannot boot into ${target}: ${why}.`, {
    hint: "See what is there with: cos status",
  });
}
