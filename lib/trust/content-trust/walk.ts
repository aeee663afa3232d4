/** From the root to what is signed for a tag (The Update Framework, "Detailed client workflow", in Notary's dialect). */
import { type Bytes, sameBytes } from "../../base/bytes.ts";
import { KNOWN_TRUST_VERSION, type KnownTrust } from "../../formats/known-trust.ts";
import { digestOf } from "../keys.ts";
import { reading, type Refusal, refuse, verdictOf } from "../verdict.ts";
import { requireSigners, type RoleKey } from "./keys.ts";
import {
  type Document,
  type FileEntry,
  type Kind,
  MOST,
  parseDocument,
  type Role,
  type WrittenKey,
} from "./metadata.ts";
import { currentRoot, sha256Of, type TrustRequest } from "./roots.ts";

/** Whose targets count before the repository's own: what `docker trust` lets a team sign. No other delegation counts. */
const RELEASES = "targets/releases";

/** What is signed for a tag. */
export interface Target {
  sha256: Bytes;
  length: number;
  /** `targets/releases` or `targets`. */
  role: string;
  /** The fingerprint of a key that signed it: `sha256:` and hex, of its SubjectPublicKeyInfo. */
  key: string;
}

export interface ProvenTrust {
  /** What the machine is to remember from now on. */
  known: KnownTrust;
  /** Undefined where nothing is signed for this tag. */
  find(tag: string): Target | undefined;
}

interface Targets {
  document: Document<"targets">;
  role: string;
  key: string;
}

/** Throws what fetching throws. */
export async function walk(request: TrustRequest): Promise<ProvenTrust | Refusal> {
  return await verdictOf(`the content trust of ${request.gun} cannot be used`, async () => {
    const { gun, known, now } = request, root = await currentRoot(request), { roles, keys } = root.signed;
    refuseExpired(request, "root", root);
    const timestamp = await proven(request, "timestamp", {
      ...{ kind: "timestamp", role: roles.timestamp, keys, least: known?.timestamp },
    });
    const snapshot = await proven(request, "snapshot", {
      ...{ kind: "snapshot", role: roles.snapshot, keys, least: known?.snapshot },
      entry: timestamp.document.signed.meta.snapshot,
    });
    const files = snapshot.document.signed.meta;
    await refuseOther(`the root of ${gun}`, root.bytes, entryOf(request, files, "root"));
    const targets = await proven(request, "targets", {
      ...{ kind: "targets", role: roles.targets, keys, least: known?.targets },
      entry: entryOf(request, files, "targets"),
    });
    const own: Targets = { document: targets.document, role: "targets", key: targets.key };
    const delegated = await releases(request, targets.document, files), of = delegated?.targets.document;
    return {
      known: {
        schemaVersion: KNOWN_TRUST_VERSION,
        gun,
        at: now.toISOString(),
        root: { version: root.signed.version, sha256: await sha256Of(root.bytes) },
        timestamp: timestamp.document.signed.version,
        snapshot: snapshot.document.signed.version,
        targets: targets.document.signed.version,
        ...(of !== undefined && { releases: of.signed.version }),
      },
      find: (tag) => {
        const allowed = delegated?.paths.some((path) => tag.startsWith(path)) === true;
        return (allowed ? targetIn(delegated.targets, tag) : undefined) ?? targetIn(own, tag);
      },
    };
  });
}

/** Undefined where the repository's targets delegate nothing to this role, or nothing was published by it yet. */
async function releases(
  request: TrustRequest,
  targets: Document<"targets">,
  files: Readonly<Record<string, FileEntry>>,
): Promise<{ targets: Targets; paths: readonly string[] } | undefined> {
  const { known, gun } = request, { roles = [], keys = {} } = targets.signed.delegations ?? {};
  const [role, twin] = roles.filter(({ name }) => name === RELEASES);
  if (role === undefined) return undefined;
  if (twin !== undefined) refuse(`the targets of ${gun} delegate twice to ${RELEASES}`);
  const entry = Object.hasOwn(files, RELEASES) ? files[RELEASES] : undefined;
  if (entry === undefined) {
    if (known?.releases === undefined) return undefined;
    refuse(`the snapshot of ${gun} does not list ${RELEASES}, which this machine has seen before`);
  }
  const { document, key } = await proven(request, RELEASES, {
    ...{ kind: "targets", role, keys, least: known?.releases, entry },
  });
  return { targets: { document, role: RELEASES, key }, paths: role.paths ?? [] };
}

function targetIn({ document, role, key }: Targets, tag: string): Target | undefined {
  const { targets } = document.signed, entry = Object.hasOwn(targets, tag) ? targets[tag] : undefined;
  return entry && { sha256: entry.hashes.sha256, length: entry.length, role, key };
}

interface Wanted<K extends Kind> {
  kind: K;
  role: Role;
  keys: Readonly<Record<string, WrittenKey>>;
  /** The version that this machine has seen before. */
  least: number | undefined;
  /** What its parent says of it; absent for the one that has none. */
  entry?: FileEntry;
}

/** A document that its parent names, its keys have signed, and that is neither too old nor older than what was seen. */
async function proven<K extends Kind>(
  request: TrustRequest,
  name: string,
  { kind, role, keys, least = 1, entry }: Wanted<K>,
): Promise<{ document: Document<K>; key: string }> {
  const { gun } = request, what = `the ${name} of ${gun}`;
  // Under its digest it can be had also while a newer one is published.
  const file = entry === undefined ? name : `${name}.${entry.hashes.sha256.toHex()}`;
  const bytes = await request.file(file, MOST[kind]);
  if (bytes === undefined) refuse(`its server lacks ${what}`);
  if (entry !== undefined) await refuseOther(what, bytes, entry);
  const document = reading(what, () => parseDocument(kind, bytes)), { version } = document.signed;
  const [signer] = await requireSigners(what, document, role, keys);
  if (version < least) {
    refuse(
      `${what} is older than the one that this machine has seen before`,
      `version ${least} or later`,
      `${version}`,
    );
  }
  refuseExpired(request, name, document);
  return { document, key: (signer as RoleKey).key.fingerprint };
}

function refuseExpired({ gun, now }: TrustRequest, name: string, { signed: { expires } }: Document<Kind>): void {
  if (now < expires) return;
  refuse(
    `the ${name} of ${gun} has expired: it was good until ${expires.toISOString()}, and it is ${now.toISOString()} now`,
  );
}

async function refuseOther(what: string, bytes: Bytes, { hashes, length }: FileEntry): Promise<void> {
  if (bytes.length !== length) {
    refuse(`${what} has another length than its parent says`, `${length}`, `${bytes.length}`);
  }
  for (const [hash, wanted] of [["SHA-256", hashes.sha256], ["SHA-512", hashes.sha512]] as const) {
    if (wanted === undefined) continue;
    const found = await digestOf(hash, bytes);
    if (!sameBytes(found, wanted)) {
      refuse(`${what} is another one than its parent names`, wanted.toHex(), found.toHex());
    }
  }
}

function entryOf({ gun }: TrustRequest, files: Readonly<Record<string, FileEntry>>, name: string): FileEntry {
  const entry = Object.hasOwn(files, name) ? files[name] : undefined;
  return entry ?? refuse(`the snapshot of ${gun} does not list its ${name}`);
}
