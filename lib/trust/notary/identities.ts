/** Whose signatures count: names that certificates must bear (trust-store-trust-policy.md, "Trusted Identities Constraints"). */
import type { Certificate } from "../../formats/x509.ts";
import {
  formatDistinguishedName,
  type NameAttribute,
  nameAttributes,
  parseDistinguishedName,
} from "../../formats/distinguished-name.ts";
import { FormatError } from "../../formats/format-error.ts";
import { displayText } from "../../base/byte-string.ts";
import { reading, refuse } from "../verdict.ts";
import { subjectOf } from "./certificates.ts";

/** Names of which one must fit, or everybody whom the authorities vouch for. */
export type Identities = "*" | readonly (readonly NameAttribute[])[];

const PREFIX = "x509.subject:";
const REQUIRED = ["C", "ST", "O"];

/** Throws `FormatError`. */
export function parseIdentities(texts: readonly string[]): Identities {
  if (texts.length === 1 && texts[0] === "*") return "*";
  const names = texts.map((text) => {
    if (text === "*") throw new FormatError('the trusted identity "*" stands beside others');
    if (!text.startsWith(PREFIX)) {
      throw new FormatError(`the trusted identity "${displayText(text)}" does not begin with ${PREFIX}`);
    }
    const name = parseDistinguishedName(text.slice(PREFIX.length));
    const missing = REQUIRED.find((type) => !name.some((one) => one.type === type));
    if (missing !== undefined) throw new FormatError(`the trusted identity "${displayText(text)}" has no ${missing}`);
    return name;
  });
  for (const [i, one] of names.entries()) {
    const other = names.find((wider, j) => i !== j && wider.every((attribute) => has(one, attribute)));
    if (other !== undefined) {
      throw new FormatError(
        `the trusted identities "${formatDistinguishedName(one)}" and "${formatDistinguishedName(other)}" overlap`,
      );
    }
  }
  return names;
}

export function identitiesText(identities: Identities): string {
  return identities === "*" ? "anybody" : identities.map(formatDistinguishedName).join(" or ");
}

/** A certificate may say more of its holder than the policy asks. */
export function verifySubject(leaf: Certificate, identities: Identities): void {
  if (identities === "*") return;
  const subject = reading("the signer's name", () => nameAttributes(leaf.subject));
  if (!identities.some((name) => name.every((attribute) => has(subject, attribute)))) {
    refuse("the image was signed by another identity", identitiesText(identities), subjectOf(leaf));
  }
}

/** A type that is there twice would leave open which of the two is meant. */
function has(name: readonly NameAttribute[], { type, value }: NameAttribute): boolean {
  const values = name.filter((one) => one.type === type).map((one) => one.value);
  return values.length === 1 && values[0] === value;
}
