/** Refusing what is older than what ran well here, and remembering what that is. */
import { CosError, SystemCallError } from "../base/errors.ts";
import type { Floor, ImageRecord, InstallRecord } from "../formats/record.ts";
import type { ImageReference } from "../formats/reference.ts";
import type { ResolvedImage } from "../oci/pull.ts";
import { type Age, type Older, olderThan, raiseFloor } from "../state/floor.ts";
import { loadRecord } from "../state/record-file.ts";
import type { System } from "../system/system.ts";
import { openNamed } from "./labels.ts";
import type { View } from "./session.ts";

/** The label by which an image says which product it is, whatever repository it is pulled from. */
export const PRODUCT_LABEL = "cos.product";
const VERSION_LABEL = "org.opencontainers.image.version";

export interface Origin extends Age {
  product?: string;
}

/** What an image says of itself before its layers are read. */
export function originOf(image: ResolvedImage | undefined, reference: ImageReference): Origin {
  const labels = image?.config.config?.Labels ?? {};
  const repository = reference.kind === "registry" ? `${reference.host}/${reference.repository}` : undefined;
  return {
    product: labels[PRODUCT_LABEL] ?? repository,
    label: labels[VERSION_LABEL],
    created: image?.config.created ?? undefined,
  };
}

/**
 * The floors that hold here. A record that is lost or damaged does not lower them: its copy lies on the recovery partition. One that
 * does not mount knows none: it must not keep the system beside it from being mended.
 */
export function floorsOf(
  system: System,
  { record, partition }: Pick<View, "record" | "partition">,
): Readonly<Record<string, Floor>> {
  if (record.record.floors !== undefined || record.condition === "present") return record.record.floors ?? {};
  try {
    using recovery = openNamed(system, partition, "recovery", false);
    return recovery === undefined ? {} : loadRecord(system.kernel, recovery.fd).record.floors ?? {};
  } catch (thrown) {
    if (thrown instanceof SystemCallError) return {};
    throw thrown;
  }
}

export interface DowngradeJudgement {
  older?: Older;
  warning?: string;
}

export function judgeAge(floors: Readonly<Record<string, Floor>>, { product, ...age }: Origin): DowngradeJudgement {
  const floor = product === undefined ? undefined : floors[product];
  if (floor === undefined) return {};
  const older = olderThan(age, floor);
  if (older === "unknown") {
    return { warning: `Nothing says whether this image is older than what ran well here (${floorName(floor)}).` };
  }
  return older === undefined ? {} : { older };
}

/** Throws `DOWNGRADE`. */
export function refuseDowngrade(name: string, { older }: DowngradeJudgement, allowed: boolean): void {
  if (older === undefined || allowed) return;
  const what = older.by === "created" ? `made at ${older.found}` : `version ${older.found}`;
  throw new CosError("DOWNGRADE", `Refused ${name}: it is older (${what}) than what ran well here (${older.floor}).`, {
    hint:
      "If an older one is really meant: --allow-downgrade; it is recorded. To go back to the passive system: cos rollback",
    details: { found: older.found, floor: older.floor },
  });
}

/** In the record that takes a lost one's place. */
export function withFloors(record: InstallRecord, floors: Readonly<Record<string, Floor>>): InstallRecord {
  return Object.entries(floors).reduce((raised, [product, floor]) => raiseFloor(raised, product, floor), record);
}

/** A system that ran well raises the floor of its product. */
export function withFloor(
  record: InstallRecord,
  { product, label, version, created, digest }: ImageRecord,
  at: string,
) {
  return product === undefined ? record : raiseFloor(record, product, { label, version, created, digest, at });
}

function floorName({ label, version, created }: Floor): string {
  return label ?? version ?? created ?? "of unknown version";
}
