/**
 * Whether the name under which an image was signed is one that the policy accepts for the name under which it is pulled
 * (containers-policy.json(5), `signedIdentity`).
 */
import * as z from "zod/mini";
import { CosError } from "../base/errors.ts";
import { FormatError } from "../formats/format-error.ts";
import { hasTagOrDigest, type ImageReference, parseReference, type RegistryReference } from "../formats/reference.ts";
import { type Refusal, refusal } from "./verdict.ts";

const name = z.string().check(z.minLength(1), z.maxLength(1024));

export const signedIdentitySchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("matchRepoDigestOrExact") }),
  z.strictObject({ type: z.literal("matchExact") }),
  z.strictObject({ type: z.literal("matchRepository") }),
  z.strictObject({ type: z.literal("exactReference"), dockerReference: name }),
  z.strictObject({ type: z.literal("exactRepository"), dockerRepository: name }),
  z.strictObject({ type: z.literal("remapIdentity"), prefix: name, signedPrefix: name }),
]);
export type SignedIdentity = z.infer<typeof signedIdentitySchema>;

export const DEFAULT_IDENTITY: SignedIdentity = { type: "matchRepoDigestOrExact" };

/** Throws `FormatError` for a name in the policy that is none. */
export function checkIdentity(identity: SignedIdentity): void {
  if (identity.type === "exactReference" && !hasTagOrDigest(identity.dockerReference)) {
    throw new FormatError(`"${identity.dockerReference}" in signedIdentity needs a tag or a digest`);
  }
  if (identity.type === "exactReference") parsed(identity.dockerReference);
  if (identity.type === "exactRepository") {
    if (hasTagOrDigest(identity.dockerRepository)) {
      throw new FormatError(
        `"${identity.dockerRepository}" in signedIdentity must be a repository, without tag or digest`,
      );
    }
    parsed(identity.dockerRepository);
  }
}

/** Undefined where it will do. @param signed the signature's docker-reference, as it stands there. */
export function identityRefusal(
  identity: SignedIdentity,
  image: ImageReference,
  signed: string,
): Refusal | undefined {
  const name = tryParse(signed);
  if (name === undefined) return refusal("the signature names no image that could be read", nameOf(image), signed);
  const other = (expected: string) => refusal("the image was signed under another name", expected, signed);
  if (identity.type === "exactReference") {
    return full(name) === full(parsed(identity.dockerReference)) ? undefined : other(identity.dockerReference);
  }
  if (identity.type === "exactRepository") {
    return repository(name) === repository(parsed(identity.dockerRepository))
      ? undefined
      : other(identity.dockerRepository);
  }
  if (image.kind !== "registry") {
    return refusal(
      `the policy compares names (signedIdentity), and ${
        nameOf(image)
      } has none: it needs exactRepository or exactReference`,
    );
  }
  switch (identity.type) {
    case "matchRepository":
      return repository(name) === repository(image) ? undefined : other(repository(image));
    case "matchExact":
      if (image.tag === undefined) {
        return refusal("the policy compares tags (matchExact), and the image was asked for by digest");
      }
      return full(name) === full(image) ? undefined : other(full(image));
    case "matchRepoDigestOrExact":
      return repoDigestOrExact(name, image) ? undefined : other(wanted(image));
    case "remapIdentity": {
      const mapped = remapped(image, identity.prefix, identity.signedPrefix);
      return repoDigestOrExact(name, mapped) ? undefined : other(wanted(mapped));
    }
  }
}

/** By digest the tag says nothing; by tag it must be the signed one. */
function repoDigestOrExact(signed: RegistryReference, image: RegistryReference): boolean {
  if (image.digest !== undefined) return repository(signed) === repository(image);
  return full(signed) === full(image);
}

function wanted(image: RegistryReference): string {
  return image.digest !== undefined ? repository(image) : full(image);
}

/** A prefix ends where a part of the name does. */
function remapped(image: RegistryReference, prefix: string, signedPrefix: string): RegistryReference {
  const own = repository(image);
  if (own !== prefix && !own.startsWith(`${prefix}/`)) return image;
  const changed = tryParse(`${signedPrefix}${own.slice(prefix.length)}`);
  return changed === undefined ? image : { ...image, host: changed.host, repository: changed.repository };
}

function full(reference: RegistryReference): string {
  const { tag, digest } = reference;
  return `${repository(reference)}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

function repository({ host, repository }: RegistryReference): string {
  return `${host}/${repository}`;
}

function nameOf(image: ImageReference): string {
  return image.kind === "registry" ? full(image) : `${image.kind} ${image.path}`;
}

function tryParse(text: string): RegistryReference | undefined {
  // A bare name is read as Docker Hub's, as the program that signed it read it.
  const whole = hasTagOrDigest(text) ? text : `${text}:latest`;
  try {
    const reference = parseReference(`docker://${whole}`);
    if (reference.kind !== "registry") return undefined;
    return hasTagOrDigest(text) ? reference : { ...reference, tag: undefined };
  } catch (thrown) {
    if (thrown instanceof CosError) return undefined;
    throw thrown;
  }
}

function parsed(text: string): RegistryReference {
  const reference = tryParse(text);
  if (reference === undefined) throw new FormatError(`"${text}" in signedIdentity is no name of an image`);
  return reference;
}
