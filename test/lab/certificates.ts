/** Certificates for one run: a CA, a server's, a client's. A certificate that is its own CA is refused by strict clients. */
import { join } from "node:path";
import { run } from "./run.ts";

/** Names of PEM files. */
export interface Certificates {
  ca: string;
  certificate: string;
  key: string;
}

const FRESH = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7"];

/** A CA, and a certificate by it for 127.0.0.1, localhost and the names. */
export async function makeCertificates(directory: string, names: readonly string[] = []): Promise<Certificates> {
  const ca = await makeAuthority(directory, "ca");
  const alternatives = ["IP:127.0.0.1", "DNS:localhost", ...names.map((name) => `DNS:${name}`)].join(",");
  const server = await makeCertificate(directory, "server", ca, ["-addext", `subjectAltName=${alternatives}`]);
  return { ca: ca.certificate, ...server };
}

export async function makeAuthority(directory: string, name: string): Promise<{ certificate: string; key: string }> {
  const certificate = join(directory, `${name}.crt`), key = join(directory, `${name}.key`);
  await run("openssl", [
    ...["req", "-x509", ...FRESH, "-keyout", key, "-out", certificate, "-subj", `/CN=lab ${name}`],
    ...["-addext", "keyUsage=critical,keyCertSign"],
  ]);
  return { certificate, key };
}

export async function makeCertificate(
  directory: string,
  name: string,
  ca: { certificate: string; key: string },
  more: readonly string[] = [],
): Promise<{ certificate: string; key: string }> {
  const certificate = join(directory, `${name}.crt`), key = join(directory, `${name}.key`);
  await run("openssl", [
    ...["req", "-x509", ...FRESH, "-keyout", key, "-out", certificate, "-subj", `/CN=lab ${name}`],
    ...["-CA", ca.certificate, "-CAkey", ca.key, ...more, "-addext", "basicConstraints=critical,CA:FALSE"],
  ]);
  return { certificate, key };
}

/** A client's certificate, by a CA. */
export function makeClientCertificate(directory: string, ca: { certificate: string; key: string }) {
  return makeCertificate(directory, "client", ca, ["-addext", "extendedKeyUsage=clientAuth"]);
}
