/** Keeping the install record after an operation. A record that cannot be written never makes a done thing undone. */
import type { ImageRecord, Verification } from "../formats/record.ts";
import { type OperationRecord, withOperation } from "../formats/record.ts";
import { openSibling, RECOVERY_LABEL } from "../machine/state-partition.ts";
import { hasImageDirectory } from "../state/slots.ts";
import { type LoadedRecord, storeRecord } from "../state/record-file.ts";
import type { InstalledImage } from "./install-image.ts";
import type { Session } from "./session.ts";

export interface Waiver {
  /** The operator's own words, like `--no-verify`. */
  word: string;
  /** The user who said it. */
  by: string;
}

export function newImageRecord(source: string, image: InstalledImage, waiver: Waiver, now: number): ImageRecord {
  const at = new Date(now).toISOString();
  const verification: Verification = { scheme: "skipped", word: waiver.word, by: waiver.by, at };
  return {
    source,
    digest: image.digest,
    indexDigest: image.indexDigest,
    verification,
    version: image.os.version,
    name: image.os.name,
    contentBytes: image.contentBytes,
    installedAt: at,
    boot: "new",
    armed: false,
  };
}

/** @param images what to note about images, by UUID, over what the record knows. */
export function keepRecord(
  session: Session,
  operation: OperationRecord,
  images: Readonly<Record<string, ImageRecord>> = {},
): void {
  const { system: { kernel }, partition, events } = session;
  const { slots, record: loaded } = session.look();
  if (loaded.condition === "newer") {
    events({ kind: "warning", text: "The install record was written by a newer cos and is left as it is." });
    return;
  }
  if (loaded.condition === "damaged") {
    events({
      kind: "warning",
      text: "The install record was damaged; it is kept as cOS/state.json.damaged and begun anew.",
    });
  }
  const present = new Set([...slots.images.values()].flatMap(({ uuid }) => uuid ?? []));
  const record = withOperation(
    { ...loaded.record, images: { ...loaded.record.images, ...images } },
    operation,
    present,
  );
  const next: LoadedRecord = { ...loaded, record };
  attempt(session, "the install record", () => storeRecord(kernel, partition.fd, next));
  attempt(session, "the copy of the install record on the recovery partition", () => {
    using recovery = openSibling(kernel, partition, RECOVERY_LABEL, true);
    // A recovery partition that is mounted read-only is in use just now; the next operation brings the copy up to date.
    if (recovery === undefined || recovery.readOnly) return;
    if (!hasImageDirectory(kernel, recovery.fd)) kernel.mkdirat(recovery.fd, "cOS", 0o755);
    storeRecord(kernel, recovery.fd, { ...next, condition: "present" });
  });
}

function attempt({ events }: Session, what: string, write: () => void): void {
  try {
    write();
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    events({ kind: "warning", text: `Could not write ${what}: ${why}.` });
  }
}
