/** What the operator names as the image: a reference in a registry, an OCI layout, an archive, a directory. */
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

/** One file that holds images: containers-transports(5). */
export interface ArchiveReference {
  kind: "oci-archive" | "docker-archive";
  path: string;
  /** The image's reference in an OCI layout, or `HOST/REPOSITORY:TAG`; absent where the archive has only one image. */
  name?: string;
  /** The image's place in the archive, from 0, in place of a name. */
  index?: number;
}

export type ImageReference = RegistryReference | LayoutReference | ArchiveReference | DirectoryReference;

// distribution-spec 1.1, "Pulling manifests"; the tag's pattern is the same in docker's reference grammar.
const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Throws `INVALID_REFERENCE`. */
export function parseReference(text: string): ImageReference {
  if (text.startsWith("dir:")) return { kind: "directory", path: path(text, text.slice(4)) };
  if (text.startsWith("oci:")) return layout(text, text.slice(4));
  for (const kind of ["oci-archive", "docker-archive"] as const) {
    if (text.startsWith(`${kind}:`)) return archive(text, kind, text.slice(kind.length + 1));
  }
  return registry(text, text.replace(/^docker:\/\//, ""));
}

/** The reference in the form that `parseReference` reads; the digest is part of it where there is one. */
export function formatReference(reference: ImageReference): string {
  switch (reference.kind) {
    case "directory":
      return `dir:${reference.path}`;
    case "layout":
      return `oci:${reference.path}${reference.tag === undefined ? "" : `:${reference.tag}`}`;
    case "oci-archive":
    case "docker-archive": {
      const { kind, path, name, index } = reference;
      return `${kind}:${path}${name !== undefined ? `:${name}` : index !== undefined ? `:@${index}` : ""}`;
    }
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

/** Unlike in a layout's, the path ends at the first colon, as containers' tools have it: names of images hold colons too. */
function archive(whole: string, kind: ArchiveReference["kind"], rest: string): ArchiveReference {
  const colon = rest.indexOf(":"), file = path(whole, colon < 0 ? rest : rest.slice(0, colon));
  if (file === "-" || file === "/dev/stdin") {
    throw invalid(whole, "an archive is read more than once, and standard input cannot be: write it to a file");
  }
  if (colon < 0) return { kind, path: file };
  const chosen = rest.slice(colon + 1);
  if (chosen === "") throw invalid(whole, "the name behind the path's colon is empty");
  if (chosen.startsWith("@")) {
    if (!/^@[0-9]{1,6}$/.test(chosen)) throw invalid(whole, `"${chosen}" is no place in an archive (@0, @1, …)`);
    return { kind, path: file, index: Number(chosen.slice(1)) };
  }
  if (kind === "oci-archive") return { kind, path: file, name: chosen };
  const name = archiveName(chosen);
  if (name === undefined) throw invalid(whole, `${JSON.stringify(chosen)} is no NAME:TAG`);
  return { kind, path: file, name };
}

/** A name as docker's archives hold them, in its full form: `os` is `docker.io/library/os:latest`. Undefined for what is none. */
export function archiveName(text: string): string | undefined {
  const tagged = hasTagOrDigest(text) ? text : `${text}:latest`;
  try {
    const { host, repository, tag, digest } = registry(text, tagged);
    return digest === undefined ? `${host}/${repository}:${tag}` : undefined;
  } catch (thrown) {
    if (thrown instanceof CosError) return undefined;
    throw thrown;
  }
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
  const slash = rest.indexOf("/"), first = rest.slice(0, Math.max(slash, 0)), named = namesHost(rest);
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

/** Whether a registry's name stands before the first slash. As docker tells it: one that could be no part of a repository's name. */
export function namesHost(name: string): boolean {
  const first = name.slice(0, Math.max(name.indexOf("/"), 0));
  return /[.:[]/.test(first) || first === "localhost" || first !== first.toLowerCase();
}

/** The colon of a port stands before a slash. */
export function hasTagOrDigest(name: string): boolean {
  return name.includes("@") || name.lastIndexOf(":") > name.lastIndexOf("/");
}

export function isRepository(name: string): boolean {
  return REPOSITORY.test(name) && name.length <= 255;
}

function invalid(text: string, why: string): CosError {
  // Somebody may have written a login where none belongs; it is not repeated into logs.
  const shown = text.replace(/^([a-z-]+:\/\/)?[^/@]*:[^/@]*@(?!sha(?:256|512):)/, "$1…@");
  const reason = shown === text ? why : "a login stands in it, and logins are kept in files (--auth-file)";
  return new CosError("INVALID_REFERENCE", `Cannot read ${JSON.stringify(shown)} as an image: ${reason}.`, {
    hint:
      "Give HOST/REPOSITORY:TAG, HOST/REPOSITORY@sha256:…, oci:PATH[:TAG], oci-archive:PATH[:NAME], docker-archive:PATH[:NAME:TAG] or dir:PATH.",
  });
}
