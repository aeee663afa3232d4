/**
 * Certificates that are not to count any more, by the operator's own list: what issuers say of it only a network can bring. A line is
 * `sha256:HEX`, a certificate's fingerprint, or `serial:HEX`, a number, whoever issued it; as OpenSSL prints them too. `#` begins a remark.
 */
import { displayText } from "../../base/byte-string.ts";
import { FormatError } from "../../formats/format-error.ts";
import type { Certificate } from "../../formats/x509.ts";
import { digestOf } from "../keys.ts";

export interface RevocationList {
  /** Lower-case hex. */
  fingerprints: ReadonlySet<string>;
  /** Lower-case hex, without zeros before it. */
  serials: ReadonlySet<string>;
}

const MAX_LINES = 100_000;

/** Throws `FormatError`. */
export function parseRevocationList(text: string): RevocationList {
  const fingerprints = new Set<string>(), serials = new Set<string>(), lines = text.split("\n");
  if (lines.length > MAX_LINES) throw new FormatError(`it has more than ${MAX_LINES} lines`);
  for (const [i, line] of lines.entries()) {
    const entry = line.replace(/#.*/, "").trim().toLowerCase();
    if (entry === "") continue;
    const [, kind, hex = ""] = /^(serial|sha256(?: fingerprint)?)[:=]\s*((?:[0-9a-f]:?)+)$/.exec(entry) ?? [];
    const digits = hex.replaceAll(":", "");
    if (kind === "serial") serials.add(withoutZeros(digits));
    else if (kind !== undefined && digits.length === 64) fingerprints.add(digits);
    else throw new FormatError(`line ${i + 1} is neither sha256:HEX nor serial:HEX: ${displayText(line, 80)}`);
  }
  return { fingerprints, serials };
}

/** How the list names the certificate; undefined where it does not. */
export async function revokedAs(list: RevocationList, { der, serial }: Certificate): Promise<string | undefined> {
  const fingerprint = (await digestOf("SHA-256", der)).toHex(), number = withoutZeros(serial.toHex());
  if (list.fingerprints.has(fingerprint)) return `sha256:${fingerprint}`;
  return list.serials.has(number) ? `serial:${number}` : undefined;
}

function withoutZeros(hex: string): string {
  return hex.replace(/^0+(?=.)/, "");
}
