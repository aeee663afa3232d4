/** The one common name of a certificate's subject: Notary writes there which repository a root key is for. */
import { children, expectTag, oidOf, readDer, sequence, TAG } from "../../formats/der.ts";
import type { Certificate } from "../../formats/x509.ts";

const COMMON_NAME = "2.5.4.3", PRINTABLE = 0x13;

/** Undefined where there is none, more than one, or one that is no text. Throws `FormatError`. */
export function commonNameOf({ subject }: Certificate): string | undefined {
  const values = sequence(readDer(subject)).flatMap((part) =>
    children(expectTag(part, TAG.set)).flatMap((attribute) => {
      const [type, value] = sequence(attribute);
      return oidOf(type) === COMMON_NAME && value !== undefined ? [value] : [];
    })
  );
  const [value, more] = values;
  if (value === undefined || more !== undefined) return undefined;
  const isText = value.tag === TAG.utf8String || value.tag === PRINTABLE;
  // Names of repositories are plain text, and nothing that only looks like it.
  return isText && value.content.every((byte) => byte > 0x20 && byte < 0x7f)
    ? new TextDecoder().decode(value.content)
    : undefined;
}

/** Whether a certificate is for a repository: by its name, or by the beginning of it and a star (`registry.example.org/os/*`). */
export function isFor(certificate: Certificate | undefined, gun: string): boolean {
  const name = certificate === undefined ? undefined : commonNameOf(certificate);
  return name !== undefined && (name === gun || name.endsWith("/*") && gun.startsWith(name.slice(0, -1)));
}
