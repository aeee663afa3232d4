/** Signatures as cosign 2 and skopeo attach them: the payload, and the annotations of its layer. */
import type { Bytes } from "../../../lib/base/bytes.ts";
import type { Attachment } from "../../../lib/trust/cosign-attachment.ts";
import type { Issued } from "./certificates.ts";
import { type Instance, SIGNED_AT } from "./instance.ts";
import { jsonBytes, sign, type SigningKey, type SigningOptions } from "./keys.ts";
import { entryBody, type LabLog, promise, type Signed } from "./log.ts";
import { makeTimestamp } from "./timestamps.ts";

export const REFERENCE = "registry.lab.test/os/base";

export function simpleSigning(digest: string, reference = REFERENCE, optional: unknown = null): Bytes {
  return jsonBytes({
    critical: {
      identity: { "docker-reference": reference },
      image: { "docker-manifest-digest": digest },
      type: "cosign container image signature",
    },
    optional,
  });
}

export interface AttachmentRequest extends SigningOptions {
  payload: Bytes;
  key: SigningKey;
  /** With these it is by an identity: the signer's certificate, and its CAs. */
  certificate?: Issued;
  chain?: readonly Issued[];
  /** Where it is logged. */
  log?: LabLog;
  /** Whose timestamp authority stamps it. */
  stampedBy?: Instance;
  at?: Date;
}

export async function makeAttachment(request: AttachmentRequest): Promise<Attachment> {
  const { payload, key, certificate, chain, log, stampedBy, at = SIGNED_AT } = request;
  const signature = await sign(key, payload, { hash: "SHA-256", ...request });
  const annotations: Record<string, string> = { "dev.cosignproject.cosign/signature": signature.toBase64() };
  if (certificate !== undefined) annotations["dev.sigstore.cosign/certificate"] = certificate.pem;
  if (chain !== undefined) annotations["dev.sigstore.cosign/chain"] = chain.map((issued) => issued.pem).join("");
  if (log !== undefined) {
    const signed: Signed = {
      signature,
      signed: payload,
      ...(certificate ? { certificate: certificate.der } : { key: key.spki }),
    };
    annotations["dev.sigstore.cosign/bundle"] = JSON.stringify(await rekorBundle(log, signed, at));
  }
  if (stampedBy !== undefined) {
    const response = await makeTimestamp(stampedBy.timestampAuthority, signature, at);
    annotations["dev.sigstore.cosign/rfc3161timestamp"] = JSON.stringify({
      SignedRFC3161Timestamp: response.toBase64(),
    });
  }
  return { bytes: payload, annotations };
}

async function rekorBundle(log: LabLog, signed: Signed, at: Date) {
  const body = await entryBody("hashedrekord 0.0.1", signed), integratedTime = at.getTime() / 1000, logIndex = 4711;
  return {
    SignedEntryTimestamp: (await promise(log, body, integratedTime, logIndex)).toBase64(),
    Payload: { body: body.toBase64(), integratedTime, logIndex, logID: log.id.toHex() },
  };
}
