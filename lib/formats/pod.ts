/** A pod as the API of Kubernetes describes it (v1, Pod): which image a container of it runs. */
import * as z from "zod/mini";
import { isDigest } from "../base/digest.ts";
import { FormatError } from "./format-error.ts";
import { hasTagOrDigest, parseReference, type RegistryReference } from "./reference.ts";

const pod = z.looseObject({
  spec: z.looseObject({ containers: z.array(z.looseObject({ name: z.string(), image: z.optional(z.string()) })) }),
  status: z.optional(z.looseObject({
    containerStatuses: z.optional(z.array(z.looseObject({ name: z.string(), imageID: z.optional(z.string()) }))),
  })),
});

/**
 * The image by the name that the pod asks for, since policies know it by that one, and by the digest that the node's runtime
 * says it has pulled. @param container its name; a pod with only one need not call it so.
 * Throws `FormatError`, completing "it …", where that cannot be told.
 */
export function imageOfPod(text: string, container: string): RegistryReference {
  const { containers, statuses } = parsed(text);
  const name = containers.find((one) => one.name === container)?.name ?? only(containers)?.name;
  const image = containers.find((one) => one.name === name)?.image;
  const id = statuses.find((one) => one.name === name)?.imageID;
  if (name === undefined || image === undefined || id === undefined) {
    throw new FormatError("does not say which image this container runs");
  }
  // `REPOSITORY@sha256:…`, from older runtimes `docker-pullable://REPOSITORY@sha256:…`. A bare digest is the configuration's.
  const digest = id.slice(id.indexOf("@") + 1);
  if (!id.includes("@") || !isDigest(digest)) throw new FormatError("knows the image by no digest of a registry");
  try {
    // Names like "rancher/os" are meant as Docker Hub's there.
    const reference = parseReference(hasTagOrDigest(image) ? image : `${image}:latest`);
    if (reference.kind === "registry") return { ...reference, digest };
  } catch (cause) {
    throw new FormatError("names an image that cannot be read", { cause });
  }
  throw new FormatError("names an image that is in no registry");
}

function parsed(text: string) {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FormatError("is no JSON", { cause });
  }
  const result = pod.safeParse(json);
  if (!result.success) throw new FormatError("is no description of a pod");
  const { spec: { containers }, status } = result.data;
  return { containers, statuses: status?.containerStatuses ?? [] };
}

function only<T>(items: readonly T[]): T | undefined {
  return items.length === 1 ? items[0] : undefined;
}
