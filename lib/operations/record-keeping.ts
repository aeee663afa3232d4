/** Keeping the install record after an operation. A record that cannot be written never makes a done thing undone. */
import { messageOf } from "../base/errors.ts";
import type { ImageRecord, InstallRecord, Verification } from "../formats/record.ts";
import { type OperationRecord, withOperation } from "../formats/record.ts";
import { readKept } from "../state/kept.ts";
import { hasImageDirectory, IMAGE_DIRECTORY } from "../state/slots.ts";
import { type LoadedRecord, storeRecord } from "../state/record-file.ts";
import { floorsOf, withFloors } from "./downgrade.ts";
import type { InstalledImage } from "./install-image.ts";
import { openNamed, runningOf, unusualLabels } from "./labels.ts";
import type { Session } from "./session.ts";

export interface Waiver {
  /** The operator's own words, like `--no-verify`. */
  word: string;
  /** The user who said it. */
  by: string;
}

export function newImageRecord(
  source: string,
  image: InstalledImage,
  verification: Verification,
  now: number,
): ImageRecord {
  return {
    source,
    digest: image.digest,
    indexDigest: image.indexDigest,
    verification,
    version: image.os.version,
    name: image.os.name,
    contentBytes: image.contentBytes,
    ...image.relabelled && { relabelled: true },
    ...image.changedAfterwards.length > 0 && { changedAfterwards: image.changedAfterwards },
    installedAt: new Date(now).toISOString(),
    boot: "new",
    armed: false,
    marksItself: image.marksItself,
  };
}

/** An image whose boots GRUB counts from now on. What was found wrong with it earlier is not this trial's. */
export function onTrial({ failedChecks: _, ...image }: ImageRecord, triesGiven: 1 | 3 = 3): ImageRecord {
  return { ...image, boot: "trying", armed: true, triesGiven };
}

/**
 * Notes an image before it becomes bootable: whatever is cut after that, the next run knows which of the two is the new one.
 * What never becomes bootable is forgotten at the next writing. Returns how to take the note back.
 */
export function noteImages(session: Session, images: Readonly<Record<string, ImageRecord>>): () => void {
  const { record } = session.look();
  if (Object.keys(images).length === 0) return () => undefined;
  write(session, record, { ...record.record, images: { ...record.record.images, ...images } });
  return () => {
    const now = session.look().record;
    // Those that the note has brought back from the copy stay.
    write(session, now, withFloors(record.record, now.record.floors ?? {}));
  };
}

/**
 * Adds an operation, and forgets images that are gone. @param change what else it changed in the record.
 */
export function noteOperation(
  session: Session,
  operation: OperationRecord,
  change: (record: InstallRecord) => InstallRecord = (record) => record,
): void {
  session.afterwards("writing the record", undefined, () => {
    const { slots, record, state } = session.look(), { active } = slots.names;
    const { system: { kernel }, partition: { fd } } = session;
    const present = new Set([...slots.images.values(), ...readKept(kernel, fd)].flatMap(({ uuid }) => uuid ?? []));
    const next = withOperation(change(record.record), operation, present);
    const labels = unusualLabels(session.system, session.partition, runningOf(slots, state.running), next);
    const counted = active === undefined ? undefined : slots.images.get(active)?.uuid;
    write(session, record, { ...next, labels, images: onlyActiveIsCounted(next.images, counted) });
  });
}

/** GRUB counts the tries of the default entry: no other image is on trial, whatever it was before. */
function onlyActiveIsCounted(images: InstallRecord["images"], active: string | undefined): InstallRecord["images"] {
  return Object.fromEntries(
    Object.entries(images).map(([uuid, image]) => {
      if (uuid === active || !image.armed) return [uuid, image];
      return [uuid, { ...image, armed: false, boot: image.boot === "trying" ? "new" : image.boot }];
    }),
  );
}

function write(session: Session, loaded: LoadedRecord, record: InstallRecord): void {
  const { system: { kernel }, partition, events } = session, { condition } = loaded;
  if (condition === "newer") {
    events({ kind: "warning", text: "The install record was written by a newer cos and is left as it is." });
    return;
  }
  if (condition === "damaged") {
    events({
      kind: "warning",
      text: "The install record was damaged; it is kept as cOS/state.json.damaged and begun anew.",
    });
  }
  // Before the copy on the recovery partition, where they lie, is written over.
  const whole = condition === "present"
    ? record
    : withFloors(record, floorsOf(session.system, { record: loaded, partition }));
  attempt(session, "the install record", () => storeRecord(kernel, partition.fd, { record: whole, condition }));
  attempt(session, "the copy of the install record on the recovery partition", () => {
    using recovery = openNamed(session.system, partition, "recovery", true);
    // A recovery partition that is mounted read-only is in use just now; the next operation brings the copy up to date.
    if (recovery === undefined || recovery.readOnly) return;
    if (!hasImageDirectory(kernel, recovery.fd)) kernel.mkdirat(recovery.fd, IMAGE_DIRECTORY, 0o755);
    storeRecord(kernel, recovery.fd, { record: whole, condition: "present" });
  });
}

function attempt({ events }: Session, what: string, write: () => void): void {
  try {
    write();
  } catch (thrown) {
    const why = messageOf(thrown);
    events({ kind: "warning", text: `Could not write ${what}: ${why}.` });
  }
}
