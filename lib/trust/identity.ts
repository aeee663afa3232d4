/** Whom a certificate speaks for, and whether that is who was asked for. Exactly: no patterns, no other spelling. */
import { FormatError } from "../formats/format-error.ts";
import { type Certificate, textExtension } from "../formats/x509.ts";
import { type Identity, reading, refuse } from "./verdict.ts";

/** Fulcio's extensions (fulcio/docs/oid-info.md). The first one's value is the bare text, the later one's a UTF8String. */
const ISSUER = "1.3.6.1.4.1.57264.1.8", ISSUER_RAW = "1.3.6.1.4.1.57264.1.1";

export interface WantedIdentity extends Identity {
  /** An address that looks like mail may still be a URI in the certificate, and the other way round: where it matters, say which. */
  kind?: "email" | "uri";
}

/** The certificate's identity; refuses another one than the wanted. */
export function verifyIdentity(certificate: Certificate, wanted: WantedIdentity): Identity {
  const issuer = reading("the certificate's identity", () => issuerOf(certificate));
  if (issuer === undefined) return refuse("the certificate does not say who vouched for its identity");
  // Fulcio writes exactly one name; of several, a reader could take the one that nobody checked.
  const [name, more] = certificate.alternativeNames;
  if (name === undefined || more !== undefined || (name.kind !== "email" && name.kind !== "uri")) {
    return refuse("the certificate does not speak for one e-mail address or URI");
  }
  if (wanted.kind !== undefined && wanted.kind !== name.kind) {
    refuse("the image was signed by an identity of another kind", wanted.kind, name.kind);
  }
  if (name.value !== wanted.san) refuse("the image was signed by another identity", wanted.san, name.value);
  if (issuer !== wanted.issuer) {
    refuse("the signer's identity was vouched for by another issuer", wanted.issuer, issuer);
  }
  return { san: name.value, issuer };
}

function issuerOf(certificate: Certificate): string | undefined {
  const issuer = textExtension(certificate, ISSUER), raw = certificate.extensions.get(ISSUER_RAW);
  const older = raw === undefined ? undefined : new TextDecoder().decode(raw.value);
  if (issuer !== undefined && older !== undefined && issuer !== older) throw new FormatError("it names two issuers");
  return issuer ?? older;
}
