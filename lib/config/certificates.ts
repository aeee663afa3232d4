/** Certificates from files: the CAs that this machine trusts, and what it has for single registries. */
import { CosError } from "../base/errors.ts";
import type { TlsSettings } from "../formats/endpoint.ts";
import type { Environment } from "./environment.ts";
import { listOptional, type OtherRoot, readOptional } from "./files.ts";

/** Where distributions keep the CAs of `update-ca-certificates` and its like, as Go's crypto/x509 looks for them. */
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Gentoo
  "/etc/pki/tls/certs/ca-bundle.crt", // Fedora, RHEL 6
  "/etc/ssl/ca-bundle.pem", // openSUSE
  "/etc/pki/tls/cacert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS, RHEL 7
  "/etc/ssl/cert.pem",
];

/** Docker's and podman's; the first that holds something for a host is the one that counts. */
const HOST_DIRECTORIES = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/**
 * The CAs of this machine, which are trusted besides those that the program brings (Mozilla's): `SSL_CERT_FILE` in place of the
 * distribution's file, and all of the directories in `SSL_CERT_DIR`: the variables of OpenSSL and Go. The other root's file counts
 * where there is none here.
 */
export async function trustedRoots(
  env: Environment,
  warn: (text: string) => void,
  bundles: readonly string[] = BUNDLES,
  elsewhere?: OtherRoot,
): Promise<string[]> {
  const texts: string[] = [], file = env("SSL_CERT_FILE") || undefined;
  for (const path of file === undefined ? bundles : [file]) {
    const text = await readOptional(path, () => warn(`The certificates in ${path} may not be read.`));
    if (text !== undefined) {
      texts.push(text);
      break;
    }
    if (path === file) warn(`SSL_CERT_FILE names ${path}, which cannot be read: no CA is taken from it.`);
  }
  if (texts.length === 0 && file === undefined) {
    texts.push(await elsewhere?.((root) => firstOf(bundles.map((path) => `${root}${path}`))) ?? "");
  }
  for (const directory of (env("SSL_CERT_DIR") ?? "").split(":").filter((path) => path !== "")) {
    for (const name of await listOptional(directory)) {
      texts.push(await readOptional(`${directory}/${name}`, () => {}) ?? "");
    }
  }
  // OpenSSL's directories hold each certificate twice: under its name, and under a link that is its hash.
  const all = [...new Set(texts.flatMap(certificatesIn))];
  if (areCertificates(all)) return all;
  const sound = all.filter((pem) => areCertificates([pem]));
  warn(`${all.length - sound.length} of this machine's CA certificates cannot be read, and are left out.`);
  return sound;
}

async function firstOf(paths: readonly string[]): Promise<string> {
  for (const path of paths) {
    const text = await readOptional(path);
    if (text !== undefined) return text;
  }
  return "";
}

/** As below, and of the other root where there is nothing here. */
export function certificateLookup(elsewhere: OtherRoot) {
  return async (host: string): Promise<TlsSettings> => {
    const here = await hostCertificates(host), isNothing = here.ca.length === 0 && here.cert === undefined;
    if (!isNothing) return here;
    return await elsewhere((root) => hostCertificates(host, HOST_DIRECTORIES.map((path) => `${root}${path}`))) ?? here;
  };
}

/**
 * What the machine has for a host: `/etc/docker/certs.d/HOST[:PORT]/` with `*.crt` (CAs) and a client's `*.cert` with its
 * `*.key`; `/etc/containers/certs.d` before it. Throws `CONFIGURATION` where a certificate lacks its key, or a key its certificate.
 */
export async function hostCertificates(
  host: string,
  directories: readonly string[] = HOST_DIRECTORIES,
): Promise<TlsSettings> {
  for (const directory of directories) {
    const path = `${directory}/${host}`, names = await listOptional(path);
    if (!names.some((name) => /\.(?:crt|cert|key)$/.test(name))) continue;
    const read = async (name: string) =>
      await readOptional(`${path}/${name}`, () => {
        throw unusable(`${path}/${name}`, "it may not be read");
      }) ?? "";
    const ca: string[] = [];
    for (const name of names.filter((n) => n.endsWith(".crt"))) {
      const certificates = certificatesOf(await read(name));
      if (certificates === undefined) throw unusable(`${path}/${name}`, "it is no certificate in PEM form");
      ca.push(...certificates);
    }
    const [cert] = names.filter((name) => name.endsWith(".cert"));
    const lone = names.find((name) => name.endsWith(".key") && !names.includes(name.replace(/key$/, "cert")));
    if (lone !== undefined) throw unusable(`${path}/${lone}`, `there is no ${lone.replace(/key$/, "cert")} beside it`);
    if (cert === undefined) return { ca };
    const key = cert.replace(/cert$/, "key");
    if (!names.includes(key)) throw unusable(`${path}/${cert}`, `there is no ${key} beside it (CAs are named *.crt)`);
    return { ca, cert: await read(cert), key: await read(key) };
  }
  return { ca: [] };
}

/** The certificates of a PEM text; undefined where it holds none, or one that no TLS library takes. */
export function certificatesOf(text: string): string[] | undefined {
  const found = certificatesIn(text);
  return found.length > 0 && areCertificates(found) ? found : undefined;
}

function certificatesIn(text: string): string[] {
  const pattern = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g;
  return (text.match(pattern) ?? []).filter((block) => !block.includes("TRUSTED"))
    .map((block) => `${block.replace(/\r/g, "")}\n`);
}

/** Whether the TLS library takes them all: one that it refuses would spoil all others, for they are given to it together. */
function areCertificates(pems: string[]): boolean {
  try {
    Deno.createHttpClient({ caCerts: pems }).close();
    return true;
  } catch {
    return false;
  }
}

function unusable(path: string, why: string): CosError {
  return new CosError("CONFIGURATION", `Cannot use ${path}: ${why}.`, {
    hint: "A host's directory holds ca.crt, and client.cert with client.key where the registry wants one.",
  });
}
