/** A repository of Docker Content Trust as `notary` and its server make it, with every wish of a test: keys, versions, thresholds. */
import type { Bytes } from "../../../lib/base/bytes.ts";
import { canonicalBytes } from "../../../lib/trust/content-trust/metadata.ts";
import { extensions, type Issued, makeCertificate, OID } from "./certificates.ts";
import { jsonBytes, type KeyKind, makeKey, pem, sha256, type SigningKey, signRaw } from "./keys.ts";

const DAY = 86_400_000;
/** As long as Notary's documents are good for. Days. */
const LIFETIMES = { root: 3650, targets: 1095, snapshot: 1095, timestamp: 14 };
type RoleName = keyof typeof LIFETIMES;

export interface TrustKey {
  id: string;
  key: SigningKey;
  written: { keytype: string; keyval: { private: null; public: string } };
  /** `eddsa`, `ecdsa`, `rsapss`; RSA keys also sign with `rsapkcs1v15`. */
  method: string;
  certificate?: Issued;
}

const NAMES: Partial<Record<KeyKind, string>> = { p256: "ecdsa", p384: "ecdsa", p521: "ecdsa", ed25519: "ed25519" };

/** A key without a certificate. */
export async function trustKey(kind: KeyKind, method?: string): Promise<TrustKey> {
  const key = await makeKey(kind);
  // The last 32 bytes of an Ed25519 key's SubjectPublicKeyInfo are the key itself.
  return await withId(key, NAMES[kind] ?? "rsa", kind === "ed25519" ? key.spki.slice(-32) : key.spki, method);
}

/** A key in a certificate, as root keys are, and those of delegations. @param issuer undefined: it issues itself. */
export async function certifiedKey(
  commonName: string,
  { kind = "p256", issuer, key, now = new Date(), chain = [] }: {
    kind?: KeyKind;
    issuer?: Issued;
    key?: SigningKey;
    now?: Date;
    chain?: Issued[];
  } = {},
): Promise<TrustKey & { certificate: Issued }> {
  const own = key ?? await makeKey(kind);
  const certificate = await makeCertificate({
    ...{ key: own, commonName, notBefore: new Date(+now - DAY), notAfter: new Date(+now + 3650 * DAY) },
    ...(issuer && { issuer }),
    extensions: [extensions.usage(0), extensions.purpose(OID.codeSigning)],
  });
  const text = [certificate, ...chain].map((one) => one.pem).join("");
  const made = await withId(own, `${NAMES[own.kind] ?? "rsa"}-x509`, new TextEncoder().encode(text));
  return { ...made, certificate };
}

async function withId(key: SigningKey, keytype: string, part: Bytes, method?: string): Promise<TrustKey> {
  const written = { keytype, keyval: { private: null, public: part.toBase64() } };
  const usual = key.kind === "ed25519" ? "eddsa" : key.kind.startsWith("rsa") ? "rsapss" : "ecdsa";
  return { id: (await sha256(canonicalBytes(written))).toHex(), key, written, method: method ?? usual };
}

export interface WrittenRole {
  keys: readonly TrustKey[];
  /** 1 unless it is said. */
  threshold?: number;
}

export interface RootSpec {
  root: WrittenRole;
  targets: WrittenRole;
  snapshot: WrittenRole;
  timestamp: WrittenRole;
  /** All of its root keys unless it is said. */
  signers?: readonly TrustKey[];
}

/** By tag: what it stands for. */
export type TargetsSpec = Record<string, Uint8Array>;

export interface TrustSpec {
  now: Date;
  /** From version 1 on. A rotated one must be signed by the keys before it, too. */
  roots: readonly RootSpec[];
  targets: TargetsSpec;
  releases?: WrittenRole & { targets: TargetsSpec; paths?: string[]; name?: string; unpublished?: boolean };
  /** 1 unless it is said. */
  versions?: Partial<Record<"targets" | "snapshot" | "timestamp" | "releases", number>>;
  /** What the server had before: documents that say the same stay as they were. */
  before?: TrustFiles;
  /** Changes a document before it is signed. */
  change?: (name: string, signed: Record<string, unknown>) => void;
  /** Changes a document behind its signatures; its parents know it so. */
  damage?: (name: string, document: SignedDocument) => unknown;
}

export interface SignedDocument {
  signed: Record<string, unknown>;
  signatures: { keyid: string; method: string; sig: string }[];
}

/** What a server has, by name without ".json". */
export type TrustFiles = Map<string, Bytes>;

export async function makeTrust(spec: TrustSpec): Promise<TrustFiles> {
  const files: TrustFiles = new Map(),
    { now, roots, releases, versions = {} } = spec,
    meta: Record<string, unknown> = {};
  const newest = roots.at(-1);
  if (newest === undefined) throw new Error("a repository has a root");
  const common = (kind: RoleName, type: string, version = 1) => ({
    _type: type,
    expires: new Date(+now + LIFETIMES[kind] * DAY).toISOString().replace("Z", "123456Z"),
    version,
  });
  const put = async (name: string, signed: Record<string, unknown>, signers: readonly TrustKey[]): Promise<unknown> => {
    spec.change?.(name, signed);
    const kept = spec.before?.get(name === "root" ? `${signed.version}.root` : name);
    const bytes = kept !== undefined && says(kept, signed) ? kept : await written(name, signed, signers);
    const hash = await sha256(bytes);
    files.set(name, bytes).set(`${name}.${hash.toHex()}`, bytes);
    return { hashes: { sha256: hash.toBase64() }, length: bytes.length };
  };
  const written = async (name: string, signed: Record<string, unknown>, signers: readonly TrustKey[]) => {
    const document = await signDocument(signed, signers);
    return jsonBytes(spec.damage?.(name, document) ?? document);
  };
  for (const [i, one] of roots.entries()) {
    const { signers, ...roles } = one, all = Object.values(roles).flatMap(({ keys }) => keys);
    const signed = {
      ...common("root", "Root", i + 1),
      consistent_snapshot: false,
      keys: Object.fromEntries(all.map(({ id, written }) => [id, written])),
      roles: Object.fromEntries(Object.entries(roles).map(([name, role]) => [name, writtenRole(role)])),
    };
    // The older ones stay as they were: only the newest is what the snapshot names.
    meta.root = await put("root", signed, signers ?? roles.root.keys);
    files.set(`${i + 1}.root`, files.get("root") as Bytes);
  }
  const name = releases?.name ?? "targets/releases";
  meta.targets = await put("targets", {
    ...common("targets", "Targets", versions.targets),
    delegations: {
      keys: Object.fromEntries((releases?.keys ?? []).map(({ id, written }) => [id, written])),
      roles: releases === undefined ? [] : [{ ...writtenRole(releases), name, paths: releases.paths ?? [""] }],
    },
    targets: await entriesOf(spec.targets),
  }, newest.targets.keys);
  if (releases !== undefined && releases.unpublished !== true) {
    meta[name] = await put(name, {
      ...common("targets", "Targets", versions.releases),
      delegations: { keys: {}, roles: [] },
      targets: await entriesOf(releases.targets),
    }, releases.keys);
  }
  const snapshot = await put(
    "snapshot",
    { ...common("snapshot", "Snapshot", versions.snapshot), meta },
    newest.snapshot.keys,
  );
  await put(
    "timestamp",
    { ...common("timestamp", "Timestamp", versions.timestamp), meta: { snapshot } },
    newest.timestamp.keys,
  );
  return files;
}

function says(bytes: Bytes, signed: Record<string, unknown>): boolean {
  return JSON.stringify(JSON.parse(new TextDecoder().decode(bytes)).signed) === JSON.stringify(signed);
}

function writtenRole({ keys, threshold = 1 }: WrittenRole) {
  return { keyids: keys.map(({ id }) => id), threshold };
}

async function entriesOf(targets: TargetsSpec): Promise<Record<string, unknown>> {
  const entries: Record<string, unknown> = {};
  for (const [tag, bytes] of Object.entries(targets)) {
    entries[tag] = { hashes: { sha256: (await sha256(bytes)).toBase64() }, length: bytes.length };
  }
  return entries;
}

export async function signDocument(
  signed: Record<string, unknown>,
  signers: readonly TrustKey[],
): Promise<SignedDocument> {
  const canonical = canonicalBytes(signed), signatures = [];
  for (const { id, key, method } of signers) {
    // SHA-256 for every curve, too.
    const options = { hash: "SHA-256", ...method === "rsapss" && { saltLength: 32 } } as const;
    signatures.push({ keyid: id, method, sig: (await signRaw(key, canonical, options)).toBase64() });
  }
  return { signed, signatures };
}

/** The PEM of certificates, as a policy names a file of them. */
export function certificateFile(...certificates: readonly Issued[]): Bytes {
  return new TextEncoder().encode(certificates.map(({ der }) => pem("CERTIFICATE", der)).join(""));
}
