/** The one common name of a certificate's subject: Notary writes there which repository a root key is for. */
import { nameAttributes } from "../../formats/distinguished-name.ts";
import type { Certificate } from "../../formats/x509.ts";

/** Whether a certificate is for a repository: by its name, or by the beginning of it and a star (`registry.example.org/os/*`). */
export function isFor(certificate: Certificate | undefined, gun: string): boolean {
  if (certificate === undefined) return false;
  const [name, more] = nameAttributes(certificate.subject).flatMap(({ type, value }) => type === "CN" ? [value] : []);
  if (name === undefined || more !== undefined) return false;
  return name === gun || name.endsWith("/*") && gun.startsWith(name.slice(0, -1));
}
