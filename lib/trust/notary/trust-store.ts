/** Certificates of authorities, by what they are trusted for (trust-store-trust-policy.md, "Trust Store"). */
import type { Bytes } from "../../base/bytes.ts";
import { FormatError } from "../../formats/format-error.ts";
import { pemBlocks } from "../../formats/pem.ts";
import { type Certificate, isSelfIssued, parseCertificate } from "../../formats/x509.ts";
import { placed, present } from "../key-files.ts";
import type { PolicyFiles, ReadFile } from "../requirement.ts";

const STORE_KINDS = ["ca", "signingAuthority", "tsa"] as const;
type StoreKind = typeof STORE_KINDS[number];
export type TrustStore = Readonly<Record<StoreKind, readonly Certificate[]>>;

/** Certificates of one file. */
const MAX_CERTIFICATES = 50;
const DER_SEQUENCE = 0x30;

/** @param names `KIND:NAME` each: the directory x509/KIND/NAME of the store. Throws `FormatError`. */
export async function storesNamed(path: string, names: readonly string[], files: PolicyFiles): Promise<TrustStore> {
  const store: Record<StoreKind, Certificate[]> = { ca: [], signingAuthority: [], tsa: [] };
  for (const name of names) {
    const { kind, directory } = storeOf(name), place = `${path}/x509/${kind}/${directory}`;
    const found = (await files.list(place))?.filter((file) => /\.(?:pem|crt|cer)$/.test(file)) ?? [];
    if (found.length === 0) throw new FormatError(`${place} holds no certificates (*.pem, *.crt or *.cer)`);
    store[kind].push(...await certificatesAt(kind, found.map((file) => `${place}/${file}`), files.read));
  }
  return store;
}

/** Throws `FormatError`. */
function storeOf(name: string): { kind: StoreKind; directory: string } {
  const [, kind, directory = ""] = /^([A-Za-z]+):((?!\.{1,2}$)[A-Za-z0-9_.-]+)$/.exec(name) ?? [];
  const known = STORE_KINDS.find((one) => one === kind);
  if (known === undefined) {
    throw new FormatError(`the trust store "${name}" is not KIND:NAME with a KIND of ${STORE_KINDS.join(", ")}`);
  }
  return { kind: known, directory };
}

/** Throws `FormatError`, also for certificates that are no authority's. */
export async function certificatesAt(
  kind: StoreKind,
  paths: readonly string[],
  read: ReadFile,
): Promise<Certificate[]> {
  const certificates: Certificate[] = [];
  for (const path of paths) {
    const bytes = await present(path, read);
    certificates.push(...await placed(path, () => authoritiesOf(kind, bytes)));
  }
  return certificates;
}

function authoritiesOf(kind: StoreKind, bytes: Bytes): Certificate[] {
  const ders = bytes[0] === DER_SEQUENCE
    ? [bytes]
    : pemBlocks(new TextDecoder("latin1").decode(bytes), "CERTIFICATE", MAX_CERTIFICATES);
  return ders.map((der) => {
    const certificate = parseCertificate(der), own = isSelfIssued(certificate);
    if (kind === "tsa" && !(own && certificate.isCa)) throw new FormatError("its certificate is no root authority's");
    if (!own && !certificate.isCa) throw new FormatError("its certificate is no authority's");
    return certificate;
  });
}
