/**
 * Which policy is in force: a key that was named for this run, else `/etc/cos/policy.json`, else `/etc/containers/policy.json`.
 * All under the root that the machine's own word stands in; never in the image that is being installed.
 */
import type { Bytes } from "../base/bytes.ts";
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { FormatError } from "../formats/format-error.ts";
import type { ImageReference } from "../formats/reference.ts";
import { writableByOthers } from "../system/ownership.ts";
import { MAX_POLICY, parsePolicy, type PolicyFile, type PolicyScope, prepareScope } from "../trust/policy-file.ts";
import type { Requirement } from "../trust/requirement.ts";
import { scopesOf } from "../trust/scope.ts";
import { listOptional } from "./files.ts";

export interface Policy {
  /** Where it stands: a file, or the words that named a key. */
  origin: string;
  file: PolicyFile;
  /** Throws `CONFIGURATION`. */
  prepare(scope: PolicyScope): Promise<Requirement[]>;
  /** Whether signatures at tags are looked for: containers' tools do so only where `registries.d` says it. */
  readsAttachments(image: ImageReference): Promise<boolean>;
}

export interface PolicyOptions {
  /** Where the machine's own `/` is, without a slash at its end; empty where we run on it directly. */
  root: string;
  /** A file with a public key that the operator named for this run, and in which words. */
  key?: { path: string; words: string };
}

const OWN = "/etc/cos/policy.json", CONTAINERS = "/etc/containers/policy.json";

/** Undefined where there is none. Throws `CONFIGURATION`. */
export async function findPolicy({ root, key }: PolicyOptions): Promise<Policy | undefined> {
  if (key !== undefined) return await keyPolicy(key);
  for (const path of [OWN, CONTAINERS]) {
    const found = await readPolicy(`${root}${path}`, root, path === OWN);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** @param own it may use this program's own types of requirements. Undefined where there is no such file. */
export async function readPolicy(path: string, root: string, own: boolean): Promise<Policy | undefined> {
  const bytes = await readTrusted(path, true);
  if (bytes === undefined) return undefined;
  const file = parsed(path, bytes, own);
  return {
    origin: path,
    file,
    prepare: (scope) => prepared(path, scope, root),
    readsAttachments: (image) => own ? Promise.resolve(true) : attachmentsEnabled(root, image),
  };
}

/** A key alone is a policy: whatever this run installs is signed by it, in whichever form; the image's name may be any. */
async function keyPolicy({ path, words }: { path: string; words: string }): Promise<Policy> {
  const keyPath = await Deno.realPath(path).catch((cause: unknown) => {
    throw unusable(path, "it cannot be read", cause);
  });
  const anyName = { type: "matchRepository" };
  const requirement = {
    type: "anyOf",
    requirements: [
      { type: "sigstoreSigned", keyPath, signedIdentity: anyName },
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
    file: parsed(words, new TextEncoder().encode(text), true),
    prepare: (scope) => prepared(words, scope, ""),
    readsAttachments: () => Promise.resolve(true),
  };
}

function parsed(path: string, bytes: Uint8Array, own: boolean): PolicyFile {
  try {
    return parsePolicy(bytes, own);
  } catch (thrown) {
    if (!(thrown instanceof FormatError)) throw thrown;
    throw unusable(path, thrown.message, thrown);
  }
}

async function prepared(origin: string, scope: PolicyScope, root: string): Promise<Requirement[]> {
  try {
    return await prepareScope(scope, async (path) => {
      const bytes = await readTrusted(`${root}${path}`, false);
      if (bytes === undefined) throw new FormatError(`${path} does not exist`);
      return bytes;
    });
  } catch (thrown) {
    if (!(thrown instanceof FormatError)) throw thrown;
    throw unusable(origin, thrown.message, thrown);
  }
}

/** What decides whom to trust must be root's own, as must the directory it lies in. Throws `CONFIGURATION`. */
async function readTrusted(path: string, optional: boolean): Promise<Bytes | undefined> {
  try {
    using file = await Deno.open(path);
    const status = await file.stat(), directory = await Deno.stat(path.slice(0, path.lastIndexOf("/")) || "/");
    for (const [what, { uid, mode }] of [[path, status], [`the directory of ${path}`, directory]] as const) {
      const why = writableByOthers({ uid: uid ?? 0, mode: mode ?? 0 });
      if (why !== undefined) throw unusable(path, `${what} ${why}`);
    }
    if (status.size > MAX_POLICY) throw unusable(path, `it is longer than ${MAX_POLICY} bytes`);
    const bytes = new Uint8Array(status.size);
    let at = 0;
    for (
      let count = await file.read(bytes);
      count !== null && at < bytes.length;
      count = await file.read(bytes.subarray(at))
    ) {
      at += count;
    }
    return bytes.subarray(0, at);
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory) {
      if (optional || thrown instanceof Deno.errors.NotFound) return undefined;
    }
    if (thrown instanceof CosError) throw thrown;
    throw unusable(path, "it cannot be read", thrown);
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
    files.push({ path, text: new TextDecoder().decode(await readTrusted(path, true)) });
  }
  const { attachments } = (await import("../formats/registries-d.ts")).parseRegistriesD(files);
  const scope = scopesOf(image).find((one) => attachments.has(one));
  return scope !== undefined && attachments.get(scope) === true;
}

function unusable(path: string, why: string, cause?: unknown): CosError {
  return new CosError("CONFIGURATION", `Cannot use the policy ${path}: ${displayText(why, 400)}.`, {
    hint: "Mend it, and look at it with: cos policy check",
    cause,
  });
}
