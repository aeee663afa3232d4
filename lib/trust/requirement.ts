/** What a policy asks of an image: one value a requirement, made from the policy file, asked with what was fetched. */
import type * as z from "zod/mini";
import type { Bytes } from "../base/bytes.ts";
import type { Digest } from "../base/digest.ts";
import type { ImageReference } from "../formats/reference.ts";
import type { ContentTrustSource, FoundTrust } from "./content-trust/source.ts";
import type { Subject } from "./sigstore-bundle.ts";
import type { Refusal, Trusted } from "./verdict.ts";

/** Kinds of signatures that lie beside an image. */
export type ArtifactNeed = "attachments" | "bundles" | "notary";
/** What has to be fetched. */
export type Need = ArtifactNeed | "contentTrust";

/** A layer of an artifact beside the image, with its descriptor's annotations. */
export interface SignatureLayer {
  mediaType?: string;
  annotations: Readonly<Record<string, string>>;
  bytes: Bytes;
}

export interface Found {
  layers: readonly SignatureLayer[];
  /** What was there and could not be used, and why: it does not keep the others from being tried. */
  faults: readonly string[];
}

/** What was fetched: what lies beside an image by the digest that it was found at, content trust by who asked for it. */
export type Material = Readonly<Partial<Record<ArtifactNeed, ReadonlyMap<Digest, Found>>>> & {
  readonly contentTrust?: ReadonlyMap<ContentTrustSource, FoundTrust>;
};

export interface Context {
  reference: ImageReference;
  /** The manifest and the indexes that led to it: any of them may carry the signature. */
  subjects: readonly Subject[];
  /** From the image's configuration, which the manifest's digest proves. */
  labels: Readonly<Record<string, string>>;
  created?: Date;
  now: Date;
}

/** The operator's own word that nothing is to be proven. */
export interface Waived {
  /** The word, as the record shows it. */
  waived: string;
}

/** A condition that is no proof of anybody's, like a label, says only that it holds. */
export type Answer = Trusted | Refusal | Waived | "holds";

export interface Requirement {
  readonly type: string;
  /** Completes "The image must be …". */
  readonly words: string;
  /** It says who made the image, or that nobody may ask. */
  readonly proves: boolean;
  /** What is most likely not meant by it. */
  readonly doubt?: string | undefined;
  readonly needs: readonly Need[];
  /** Servers of content trust that are to be asked. */
  readonly contentTrust?: readonly ContentTrustSource[];
  verify(material: Material, context: Context, sofar: readonly Trusted[]): Promise<Answer>;
}

/** One type of requirement: its form in the file, and how it is made ready. */
export interface RequirementKind<T = unknown> {
  readonly type: string;
  /** Only `/etc/cos/policy.json` may hold it: other programs do not know it. */
  readonly own: boolean;
  /** Fields that only that file may use, of a type that others know too. */
  readonly ownFields?: readonly string[];
  readonly schema: z.ZodMiniType<T>;
  /** Requirements within it, as they are written. */
  inner?(value: T): readonly unknown[];
  /**
   * @param files what the policy names. @param inner those within it, ready.
   * Throws `FormatError`, and what `files` throws.
   */
  prepare(value: T, files: PolicyFiles, inner: readonly Requirement[]): Promise<Requirement>;
}

/** Undefined where there is no such file. */
export type ReadFile = (path: string) => Promise<Bytes | undefined>;

export interface PolicyFiles {
  read: ReadFile;
  /** Names of the files in a directory, sorted; directories in it are left out, links refused. Undefined where there is none. */
  list(path: string): Promise<readonly string[] | undefined>;
}
