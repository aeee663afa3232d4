/**
 * Which policy is in force: a key that was named for this run, else `/etc/cos/policy.json`, else a key that the machine's settings
 * name, else `/etc/containers/policy.json`.
 * All under the root that the machine's own word stands in; never in the image that is being installed.
 */
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { isFormatError } from "../formats/format-error.ts";
import type { ImageReference } from "../formats/reference.ts";
import type { PolicyFile, PolicyScope, Requirement } from "../trust/mod.ts";
import { listOptional } from "./files.ts";
import { listTrusted, readTrusted } from "./trusted-file.ts";

export interface Policy {
  /** Where it stands: a file, or the words that named a key. */
  origin: string;
  /** It was written for this program. */
  own: boolean;
  file: PolicyFile;
  /** Throws `CONFIGURATION`. */
  prepare(scope: PolicyScope): Promise<Requirement[]>;
  /** Whether signatures at tags are looked for: containers' tools do so only where `registries.d` says it. */
  readsAttachments(image: ImageReference): Promise<boolean>;
}

export interface NamedKey {
  path: string;
  words: string;
}

export interface PolicyOptions {
  /** Where the machine's own `/` is, without a slash at its end; empty where we run on it directly. */
  root: string;
  /** Whose root that is, for people who could not tell by its path. */
  of?: string;
  /** A file with a public key that the operator named for this run, and in which words. */
  key?: NamedKey;
  /** The same in the machine's settings: a policy that was written for this program is stronger, one for containers weaker. */
  settingsKey?: NamedKey;
}

const OWN = "/etc/cos/policy.json";
export const CONTAINERS_POLICY = "/etc/containers/policy.json";

/** Undefined where there is none. Throws `CONFIGURATION`. */
export async function findPolicy({ root, of, key, settingsKey }: PolicyOptions): Promise<Policy | undefined> {
  if (key !== undefined) return await keyPolicy(key);
  const origin = (path: string) => of === undefined ? undefined : `${path} ${of}`;
  const own = await readPolicy(`${root}${OWN}`, root, true, origin(OWN));
  if (own !== undefined) return own;
  if (settingsKey !== undefined) return await keyPolicy(settingsKey);
  return await readPolicy(`${root}${CONTAINERS_POLICY}`, root, false, origin(CONTAINERS_POLICY));
}

/**
 * @param own it may use this program's own types of requirements. @param origin for people, in place of the path.
 * Undefined where there is no such file.
 */
export async function readPolicy(
  path: string,
  root: string,
  own: boolean,
  origin = path,
): Promise<Policy | undefined> {
  const bytes = readTrusted(path, unusable);
  if (bytes === undefined) return undefined;
  const file = await parsed(origin, bytes, own);
  return {
    origin,
    own,
    file,
    prepare: (scope) => prepared(origin, scope, root),
    readsAttachments: (image) => own ? Promise.resolve(true) : attachmentsEnabled(root, image),
  };
}

/** A key alone is a policy: whatever this run installs is signed by it, in whichever form; a name in the signature must be of the same repository. */
async function keyPolicy({ path, words }: NamedKey): Promise<Policy> {
  const keyPath = await Deno.realPath(path).catch((cause: unknown) => {
    throw unusable(path, "it cannot be read", cause);
  });
  const sameRepository = { type: "matchRepository" };
  const requirement = {
    type: "anyOf",
    requirements: [
      { type: "sigstoreSigned", keyPath, signedIdentity: sameRepository },
      { type: "sigstoreBundle", keyPath },
    ],
  };
  const local = { ...requirement, requirements: requirement.requirements.slice(1) };
  const everywhere = { "": [local] };
  const text = JSON.stringify({
    default: [{ type: "reject" }],
    transports: { docker: { "": [requirement] }, oci: everywhere, "oci-archive": everywhere },
  });
  return {
    origin: words,
    own: true,
    file: await parsed(words, new TextEncoder().encode(text), true),
    prepare: (scope) => prepared(words, scope, ""),
    readsAttachments: () => Promise.resolve(true),
  };
}

/** @param path for messages. */
async function parsed(path: string, bytes: Uint8Array, own: boolean): Promise<PolicyFile> {
  const { parsePolicy } = await import("cos/trust");
  return await orUnusable(path, () => parsePolicy(bytes, own));
}

async function prepared(origin: string, scope: PolicyScope, root: string): Promise<Requirement[]> {
  const { prepareScope } = await import("cos/trust");
  const files = {
    read: (path: string) => Promise.resolve(readTrusted(`${root}${path}`, unusable)),
    list: (path: string) => listTrusted(root, path, unusable),
  };
  return await orUnusable(origin, () => prepareScope(scope, files));
}

async function orUnusable<T>(path: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (thrown) {
    if (!isFormatError(thrown)) throw thrown;
    throw unusable(path, thrown.message, thrown);
  }
}

async function attachmentsEnabled(root: string, image: ImageReference): Promise<boolean> {
  if (image.kind !== "registry") return true;
  const directory = `${root}/etc/containers/registries.d`;
  const names = (await listOptional(directory)).filter((name) => name.endsWith(".yaml"));
  if (names.length === 0) return false;
  const files = [];
  for (const name of names) {
    const path = `${directory}/${name}`;
    files.push({ path, text: new TextDecoder().decode(readTrusted(path, unusable)) });
  }
  const { attachments } = (await import("../formats/registries-d.ts")).parseRegistriesD(files);
  const { scopesOf } = await import("cos/trust");
  const scope = scopesOf(image).find((one) => attachments.has(one));
  return scope !== undefined && attachments.get(scope) === true;
}

function unusable(path: string, why: string, cause?: unknown): CosError {
  return new CosError("CONFIGURATION", `Cannot use the policy ${path}: ${displayText(why, 400)}.`, {
    hint: "Mend it, and look at it with: cos policy check",
    cause,
  });
}
