/**
 * The floor: the newest system of a product that ran well here. What is older is not installed by itself, for whoever answers in the
 * registry's place could go on serving a signed image of long ago. Pure.
 */
import type { Floor, InstallRecord } from "../formats/record.ts";
import { compareVersions } from "../formats/version.ts";

/** What of an image can be compared; the label is known before it is fetched, the version from its os-release only then. */
export interface Age {
  /** `org.opencontainers.image.version`. */
  label?: string | undefined;
  version?: string | undefined;
  /** ISO 8601. */
  created?: string | undefined;
}

export interface Older {
  by: "label" | "version" | "created";
  found: string;
  floor: string;
}

/** Reproducible builds carry 1970 and its like: such a time says nothing. */
const LEAST_CREATED = Date.UTC(2015, 0, 1);

/** Where the image is older; "unknown" where nothing of both can be compared. */
export function olderThan(image: Age, floor: Age): Older | "unknown" | undefined {
  for (const by of ["label", "version"] as const) {
    const [found, least] = [image[by], floor[by]];
    const order = found === undefined || least === undefined ? undefined : compareVersions(found, least);
    if (order === undefined || found === undefined || least === undefined) continue;
    return order < 0 ? { by, found, floor: least } : undefined;
  }
  const [found, least] = [usableTime(image.created), usableTime(floor.created)];
  if (found === undefined || least === undefined) return "unknown";
  return found < least
    ? { by: "created", found: new Date(found).toISOString(), floor: new Date(least).toISOString() }
    : undefined;
}

function usableTime(text: string | undefined): number | undefined {
  const time = Date.parse(text ?? "");
  return Number.isNaN(time) || time < LEAST_CREATED ? undefined : time;
}

/** A copy in which the product's floor is at least this image. */
export function raiseFloor(record: InstallRecord, product: string, image: Floor): InstallRecord {
  const before = record.floors?.[product];
  if (before !== undefined && typeof olderThan(image, before) === "object") return record;
  return { ...record, floors: { ...record.floors, [product]: image } };
}
