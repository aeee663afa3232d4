/**
 * What the rest of the program uses of this folder: loaded as `cos/trust`, where something is to be verified, so that no other run
 * reads it (scripts/launcher/parts.ts). Only values cross that border: an error's class would be another one on this side.
 */
export { type Attachment, type AttachmentPolicy, SIMPLE_SIGNING, verifyAttachments } from "./cosign-attachment.ts";
export { type WantedIdentity } from "./identity.ts";
export { parsePublicKey, type PublicKey } from "./keys.ts";
export { type KeylessPolicy } from "./keyless.ts";
export { type LogKey } from "./log-keys.ts";
export { BUNDLE, type BundleLayer, type BundlePolicy, type Subject, verifyBundles } from "./sigstore-bundle.ts";
export { authorityOfPem, logOfKey, parseTrustedRoot, type TrustedRoot } from "./trusted-root.ts";
export { type Identity, type Refusal, type Trusted, type Verdict } from "./verdict.ts";
