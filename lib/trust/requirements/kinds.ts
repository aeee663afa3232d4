/** All types of requirements that a policy file may hold. */
import type { RequirementKind } from "../requirement.ts";
import { any } from "./any.ts";
import { notaryProject } from "./notary-project.ts";
import { dockerContentTrust } from "./docker-content-trust.ts";
import { acceptAnything, reject } from "./plain.ts";
import { freshness } from "./freshness.ts";
import { imageLabels } from "./image-labels.ts";
import { signedBy } from "./signed-by.ts";
import { sigstoreBundle } from "./sigstore-bundle.ts";
import { sigstoreSigned } from "./sigstore-signed.ts";

// Each is used with its own values only, which its schema has made.
export const REQUIREMENT_KINDS = [
  acceptAnything,
  reject,
  signedBy,
  sigstoreSigned,
  sigstoreBundle,
  notaryProject,
  dockerContentTrust,
  any,
  imageLabels,
  freshness,
] as unknown as readonly RequirementKind[];
