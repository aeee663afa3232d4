/** Which of a policy's scopes an image is in: only the most specific one counts (containers-policy.json(5), "Policy scopes"). */
import type { ImageReference, RegistryReference } from "../formats/reference.ts";

/** The names of transports in policy files. `directory` is this program's own: a tree, of which nothing proves anything. */
export function transportOf({ kind }: ImageReference): string {
  return kind === "registry" ? "docker" : kind === "layout" ? "oci" : kind;
}

/** Names of scopes, the most specific first; the transport's own default, "", last. */
export function scopesOf(image: ImageReference): string[] {
  switch (image.kind) {
    case "registry":
      return [...registryScopes(image), ""];
    case "layout":
      return [...image.tag === undefined ? [] : [`${image.path}:${image.tag}`], ...pathScopes(image.path), ""];
    case "oci-archive":
      return [...image.name === undefined ? [] : [`${image.path}:${image.name}`], ...pathScopes(image.path), ""];
    case "docker-archive":
      // containers has no narrower scope here, since such an archive's names are whatever its maker wrote.
      return [""];
    case "directory":
      return [...pathScopes(image.path), ""];
  }
}

function registryScopes({ host, repository, tag, digest }: RegistryReference): string[] {
  const name = `${host}/${repository}`;
  const scopes = [
    ...digest === undefined ? [] : [`${name}@${digest}`],
    ...tag === undefined || digest !== undefined ? [] : [`${name}:${tag}`],
    ...pathScopes(name),
  ];
  let domain = host.replace(/:[0-9]+$/, "");
  for (let dot = domain.indexOf("."); dot >= 0; dot = domain.indexOf(".")) {
    domain = domain.slice(dot + 1);
    scopes.push(`*.${domain}`);
  }
  return scopes;
}

/** The path or name, and what is above it: of an absolute path without the root. */
function pathScopes(path: string): string[] {
  const scopes: string[] = [];
  for (let at = path.length; at > 0; at = path.lastIndexOf("/", at - 1)) scopes.push(path.slice(0, at));
  return scopes;
}
