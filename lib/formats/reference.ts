/** What the operator names as the image: a reference in a registry, an OCI layout, a directory. */
import { CosError } from "../base/errors.ts";
import { type Digest, parseDigest } from "../base/digest.ts";

export interface RegistryReference {
  kind: "registry";
  /** Host name or address, with the port where one was given. `docker.io` stands for Docker Hub. */
  host: string;
  repository: string;
  /** Absent only where a digest is given. */
  tag?: string;
  digest?: Digest;
}

export interface LayoutReference {
  kind: "layout";
  path: string;
  tag?: string;
}

export interface DirectoryReference {
  kind: "directory";
  path: string;
}

export type ImageReference = RegistryReference | LayoutReference | DirectoryReference;

// distribution-spec 1.1, "Pulling manifests"; the tag's pattern is the same in docker's reference grammar.
const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Throws `INVALID_REFERENCE`. */
export function parseReference(text: string): ImageReference {
  if (text.startsWith("dir:")) return { kind: "directory", path: path(text, text.slice(4)) };
  if (text.startsWith("oci:")) return layout(text, text.slice(4));
  return registry(text, text.replace(/^docker:\/\//, ""));
}

/** The reference in the form that `parseReference` reads; the digest is part of it where there is one. */
export function formatReference(reference: ImageReference): string {
  switch (reference.kind) {
    case "directory":
      return `dir:${reference.path}`;
    case "layout":
      return `oci:${reference.path}${reference.tag === undefined ? "" : `:${reference.tag}`}`;
    case "registry": {
      const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
      const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
      return `${reference.host}/${reference.repository}${tag}${digest}`;
    }
  }
}

function layout(whole: string, rest: string): LayoutReference {
  // The tag is what stands behind the last colon, unless a slash follows: paths may hold colons.
  const colon = rest.lastIndexOf(":");
  if (colon < 0 || rest.indexOf("/", colon) >= 0) return { kind: "layout", path: path(whole, rest) };
  const tag = rest.slice(colon + 1);
  if (tag === "") throw invalid(whole, "the tag behind the last colon is empty");
  return { kind: "layout", path: path(whole, rest.slice(0, colon)), tag };
}

function path(whole: string, text: string): string {
  if (text === "") throw invalid(whole, "no path is given");
  return text;
}

function registry(whole: string, text: string): RegistryReference {
  let rest = text, digest: Digest | undefined, tag: string | undefined;
  const at = rest.indexOf("@");
  if (at >= 0) {
    digest = parseDigest(rest.slice(at + 1));
    if (digest === undefined) throw invalid(whole, "the digest is not sha256:… or sha512:… with all its hex digits");
    rest = rest.slice(0, at);
  }
  const colon = rest.lastIndexOf(":");
  if (colon > rest.lastIndexOf("/")) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!TAG.test(tag)) {
      throw invalid(whole, `the tag ${JSON.stringify(tag)} has characters or a length that no tag may have`);
    }
  }
  // As docker tells them apart: the first part is a host if it could be no repository's name.
  const slash = rest.indexOf("/"), first = rest.slice(0, Math.max(slash, 0));
  const named = slash > 0 && (/[.:[]/.test(first) || first === "localhost" || first !== first.toLowerCase());
  if (!named && tag === undefined && digest === undefined) {
    // Older tools read such names as packages of a channel; to guess a public registry here would install somebody else's system.
    throw invalid(whole, "it names neither a registry nor a tag nor a digest");
  }
  // Docker Hub's older name still stands in files and heads; docker takes both for one.
  const host = !named || first === "index.docker.io" ? "docker.io" : first;
  let repository = named ? rest.slice(slash + 1) : rest;
  if (host === "docker.io" && !repository.includes("/")) repository = `library/${repository}`;
  // What no URL can hold (a port above 65535, 1.2.3.400) would only fail when it is asked.
  if (!HOST.test(host) || !URL.canParse(`https://${host}`)) {
    throw invalid(whole, `${JSON.stringify(host)} is no host name`);
  }
  if (!isRepository(repository)) {
    throw invalid(whole, `${JSON.stringify(repository)} is no repository's name`);
  }
  if (tag === undefined && digest === undefined) tag = "latest";
  return {
    kind: "registry",
    host,
    repository,
    tag,
    digest,
  };
}

export function isRepository(name: string): boolean {
  return REPOSITORY.test(name) && name.length <= 255;
}

function invalid(text: string, why: string): CosError {
  return new CosError("INVALID_REFERENCE", `Cannot read ${JSON.stringify(text)} as an image: ${why}.`, {
    hint: "Give HOST/REPOSITORY:TAG, HOST/REPOSITORY@sha256:…, oci:PATH[:TAG] or dir:PATH.",
  });
}
