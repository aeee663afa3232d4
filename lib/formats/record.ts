/**
 * The install record, `cOS/state.json`: where each image came from, who vouched for it, how it fared. The program works without
 * it; with it, it knows more. Fields that this version does not know are kept.
 */
import * as z from "zod/mini";
import { isDigest } from "../base/digest.ts";

/** A newer major version is read as far as it is understood, and never written. */
export const RECORD_VERSION = 1;
/** So many operations are remembered. */
const KEPT_OPERATIONS = 50;
const KEPT_BAD = 50;

const digest = z.string().check(z.refine(isDigest));

const verification = z.looseObject({
  /** `skipped`, or the scheme that proved it. */
  scheme: z.string(),
  /** For `skipped`: the word that waived the proof, and where it stood. */
  word: z.optional(z.string()),
  /** For `skipped`: the user who said it. */
  by: z.optional(z.string()),
  at: z.string(),
  /** The fingerprint of the key that signed it: `sha256:` and hex. */
  key: z.optional(z.string()),
  /** Or whom the signer's certificate speaks for, and who vouched for that. */
  identity: z.optional(z.string()),
  issuer: z.optional(z.string()),
  /** When it was signed, where a log or a timestamp proves it. */
  time: z.optional(z.string()),
  /** What the signer added, and signed. */
  annotations: z.optional(z.record(z.string(), z.string())),
  /** What spoke against it, and the policy only wants to have noted. */
  overlooked: z.optional(z.array(z.string())),
  /** The policy that was asked, and which of its scopes. */
  policy: z.optional(z.string()),
  scope: z.optional(z.string()),
});
export type Verification = z.infer<typeof verification>;

const BOOT_STATES = ["new", "trying", "good", "bad"] as const;
export type BootState = typeof BOOT_STATES[number];

const failedCheck = z.looseObject({ name: z.string(), why: z.string(), at: z.string() });
export type FailedCheck = z.infer<typeof failedCheck>;

const imageRecord = z.looseObject({
  source: z.string(),
  digest: z.optional(digest),
  indexDigest: z.optional(digest),
  verification,
  version: z.optional(z.string()),
  name: z.optional(z.string()),
  /** Whose versions are compared with one another: the image's own word, or its repository. */
  product: z.optional(z.string()),
  /** `org.opencontainers.image.version`. */
  label: z.optional(z.string()),
  /** As its configuration says. */
  created: z.optional(z.string()),
  /** It is older than what ran well here, and somebody allowed that. */
  downgrade: z.optional(z.looseObject({ from: z.string(), word: z.string(), by: z.string() })),
  /** Its labels of SELinux are not the image's own: its file contexts gave them. */
  relabelled: z.optional(z.boolean()),
  /** What hooks changed in it after it was unpacked: paths, the first of them. */
  changedAfterwards: z.optional(z.array(z.string())),
  /** Bytes of the files in it, as they were unpacked. */
  contentBytes: z.optional(z.number()),
  installedAt: z.string(),
  boot: z.enum(BOOT_STATES),
  /** GRUB counts its tries and falls back by itself. */
  armed: z.boolean(),
  /** So many boots GRUB was given for that. */
  triesGiven: z.optional(z.number()),
  /** It contains an enabled unit that runs `cos boot good`. */
  marksItself: z.optional(z.boolean()),
  /** The operator's checks that failed when it was last tried. */
  failedChecks: z.optional(z.array(failedCheck)),
});
export type ImageRecord = z.infer<typeof imageRecord>;

const failedHook = z.looseObject({ stage: z.string(), name: z.string(), why: z.string() });
export type FailedHook = z.infer<typeof failedHook>;

const hookOutput = z.looseObject({ stage: z.string(), name: z.string(), lines: z.array(z.string()) });
export type HookOutput = z.infer<typeof hookOutput>;

const operation = z.looseObject({
  kind: z.string(),
  at: z.string(),
  outcome: z.string(),
  /** Of the image that it was about. */
  image: z.optional(z.string()),
  from: z.optional(z.string()),
  warnings: z.optional(z.array(z.string())),
  /** Hooks that failed. */
  failedHooks: z.optional(z.array(failedHook)),
  /** What hooks printed, each one's last lines: of the last operation only. */
  hookOutput: z.optional(z.array(hookOutput)),
});
export type OperationRecord = z.infer<typeof operation>;

/** A system that was tried and fell back: it is not tried again by itself, also when its image is gone. */
const badSystem = z.looseObject({
  digest,
  source: z.string(),
  version: z.optional(z.string()),
  at: z.string(),
  why: z.string(),
});
export type BadSystem = z.infer<typeof badSystem>;

/** The newest system of a product that ran well here. */
const floor = z.looseObject({
  label: z.optional(z.string()),
  version: z.optional(z.string()),
  created: z.optional(z.string()),
  digest: z.optional(digest),
  at: z.string(),
});
export type Floor = z.infer<typeof floor>;

const recordSchema = z.looseObject({
  schemaVersion: z.number(),
  /** By the UUID of the filesystem inside, which no rename changes. */
  images: z.record(z.string(), imageRecord),
  operations: z.array(operation),
  bad: z.optional(z.array(badSystem)),
  /** The recovery system, where this program put it there. */
  recovery: z.optional(imageRecord),
  /** By product. */
  floors: z.optional(z.record(z.string(), floor)),
  /** Of partitions and images, by their names in `Labels`: those that are not the usual ones. */
  labels: z.optional(z.record(z.string(), z.string())),
});
export type InstallRecord = z.infer<typeof recordSchema>;

export function emptyRecord(): InstallRecord {
  return { schemaVersion: RECORD_VERSION, images: {}, operations: [] };
}

/** Undefined where the bytes are no record: damaged, or of a form that cannot be understood. */
export function parseRecord(bytes: Uint8Array): InstallRecord | undefined {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (thrown) {
    if (thrown instanceof SyntaxError || thrown instanceof TypeError) return undefined;
    throw thrown;
  }
  const result = recordSchema.safeParse(json);
  return result.success ? result.data : undefined;
}

export function printRecord(record: InstallRecord): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(record, undefined, 2)}\n`);
}

/** A copy with one more operation, and with nothing about images that are gone. */
export function withOperation(
  record: InstallRecord,
  entry: OperationRecord,
  present: ReadonlySet<string>,
): InstallRecord {
  const images = Object.fromEntries(Object.entries(record.images).filter(([uuid]) => present.has(uuid)));
  const earlier = record.operations.map(({ hookOutput: _, ...kept }) => kept);
  return { ...record, images, operations: [...earlier, entry].slice(-KEPT_OPERATIONS) };
}

export function knownBad({ bad = [] }: InstallRecord, digest: string): BadSystem | undefined {
  return bad.find((one) => one.digest === digest);
}

export function withBad(record: InstallRecord, entry: BadSystem): InstallRecord {
  return { ...record, bad: [...without(record, entry.digest), entry].slice(-KEPT_BAD) };
}

export function withoutBad(record: InstallRecord, digest: string | undefined): InstallRecord {
  return record.bad === undefined ? record : { ...record, bad: without(record, digest) };
}

function without({ bad = [] }: InstallRecord, digest: string | undefined): BadSystem[] {
  return bad.filter((one) => one.digest !== digest);
}
