/** The root of a repository in use now: from the keys that the policy pins, and from what was seen before, one rotation after another. */
import type { Bytes } from "../../base/bytes.ts";
import type { KnownTrust } from "../../formats/known-trust.ts";
import { digestOf } from "../keys.ts";
import { reading, refuse } from "../verdict.ts";
import { requireSigners, type RoleKey, signersOf } from "./keys.ts";
import { type Document, MOST, parseDocument } from "./metadata.ts";
import { isPinned, isRootKeyOf, type Pin } from "./pin.ts";

/** A file of the repository's metadata, by its name without ".json"; undefined where there is none. */
export type MetadataFile = (name: string, most: number) => Promise<Bytes | undefined>;

export interface TrustRequest {
  /** The repository with its registry: `registry.example.org/os/base`. */
  gun: string;
  pin: Pin;
  /** So many roots are read: each rotation of a key makes one. */
  maxRoots: number;
  known: KnownTrust | undefined;
  now: Date;
  file: MetadataFile;
}

export type Root = Document<"root">;

/** Refuses where nothing leads from a pinned key to it, or past what was seen before. */
export async function currentRoot(request: TrustRequest): Promise<Root> {
  const { gun, known } = request, roots = await backToTrusted(request, await fetchRoot(request, "root"));
  const [first] = roots, counts = isRootKeyOf(gun);
  await forward(request, roots);
  for (const [i, root] of roots.entries()) {
    const { roles, keys, version } = root.signed, what = `the root ${version} of ${gun}`, before = roots[i - 1];
    await requireSigners(what, root, roles.root, keys, counts);
    if (before === undefined) continue;
    const { roles: older, keys: olderKeys } = before.signed;
    await requireSigners(`${what}, by the keys of the root before it,`, root, older.root, olderKeys, counts);
  }
  const seen = roots.find(({ signed }) => signed.version === known?.root.version);
  if (known !== undefined && (seen === undefined || await sha256Of(seen.bytes) !== known.root.sha256)) {
    refuse(`the root ${known.root.version} of ${gun} is another one than this machine has seen before`);
  }
  return roots.at(-1) ?? first;
}

/** From the newest root back to one that the policy's keys have signed, and to the one that was seen last. The oldest is first. */
async function backToTrusted(request: TrustRequest, newest: Root): Promise<[Root, ...Root[]]> {
  const { gun, known, maxRoots } = request, roots: [Root, ...Root[]] = [newest];
  const seen = known?.root.version ?? Infinity;
  if (known !== undefined && newest.signed.version < seen) {
    refuse(
      `the root of ${gun} is older than the one that this machine has seen before`,
      `version ${seen} or later`,
      `version ${newest.signed.version}`,
    );
  }
  let shortfall = await pinnedShortfall(request, newest);
  for (;;) {
    const { version } = roots[0].signed;
    if (shortfall === undefined && (known === undefined || version <= seen)) return roots;
    if (shortfall !== undefined && version === 1) refuse(shortfall);
    if (roots.length >= maxRoots) {
      refuse(`the last ${maxRoots} roots of ${gun} (maxRoots) do not lead back to one that is trusted`);
    }
    const older = await fetchRoot(request, `${version - 1}.root`, version - 1);
    roots.unshift(older);
    shortfall &&= await pinnedShortfall(request, older);
  }
}

/** Roots that are newer than what is served as the newest: a cache on the way may be behind. */
async function forward(request: TrustRequest, roots: [Root, ...Root[]]): Promise<void> {
  for (let next = (roots.at(-1) ?? roots[0]).signed.version + 1;; next++) {
    const bytes = await request.file(`${next}.root`, MOST.root);
    if (bytes === undefined) return;
    if (roots.length >= request.maxRoots) refuse(`${request.gun} has more than ${request.maxRoots} roots (maxRoots)`);
    roots.push(readRoot(request, bytes, next));
  }
}

/** Why a root does not count by itself; undefined where enough of its keys that signed it are pinned. */
async function pinnedShortfall({ gun, pin, now }: TrustRequest, root: Root): Promise<string | undefined> {
  const isRootKey = isRootKeyOf(gun), counts = async (key: RoleKey) => isRootKey(key) && await isPinned(pin, key, now);
  const { roles, keys, version } = root.signed,
    what = `the root ${version} of ${gun}, by the keys that the policy pins,`;
  return (await signersOf(what, root, roles.root, keys, counts)).shortfall;
}

async function fetchRoot(request: TrustRequest, name: string, version?: number): Promise<Root> {
  const bytes = await request.file(name, MOST.root);
  if (bytes === undefined) {
    refuse(
      version === undefined ? `no content trust is kept for ${request.gun}` : `its server lacks the root ${version}`,
    );
  }
  return readRoot(request, bytes, version);
}

function readRoot({ gun }: TrustRequest, bytes: Bytes, version?: number): Root {
  const root = reading(`the root of ${gun}`, () => parseDocument("root", bytes)), found = root.signed.version;
  if (version !== undefined && found !== version) {
    refuse(`the root of ${gun} is another version`, String(version), String(found));
  }
  return root;
}

export async function sha256Of(bytes: Bytes): Promise<string> {
  return (await digestOf("SHA-256", bytes)).toHex();
}
