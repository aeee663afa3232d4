/**
 * What the rest of the program uses of this folder: loaded as `cos/trust`, where something is to be verified, so that no other run
 * reads it (scripts/launcher/parts.ts). Only values cross that border: an error's class would be another one on this side.
 */
export { type MetadataFile } from "./content-trust/roots.ts";
export { type ContentTrustSource, type FoundTrust } from "./content-trust/source.ts";
export { type Asked, type Decision, evaluate } from "./evaluate.ts";
export { parsePolicy, type PolicyFile, type PolicyScope, prepareScope } from "./policy-file.ts";
export {
  type ArtifactNeed,
  type Context,
  type Found,
  type Material,
  type Need,
  type PolicyFiles,
  type Requirement,
  type SignatureLayer,
} from "./requirement.ts";
export { scopesOf } from "./scope.ts";
export { type Subject } from "./sigstore-bundle.ts";
export { type Trusted } from "./verdict.ts";
