/** What the kinds of mirror configurations have in common: certificates from files, and hosts that may or may not speak TLS. */
import { CosError } from "../base/errors.ts";
import { type Endpoint, registryEndpoint, type TlsSettings } from "../formats/endpoint.ts";
import { certificatesOf } from "./certificates.ts";
import { readOptional } from "./files.ts";
import type { MirrorOptions, MirrorReference } from "./mirrors.ts";

/** A host that does not answer at all is found out about soon enough by the pull itself. Milliseconds. */
const PROBE_LIMIT = 5000;

/** Files of a configuration: their names are those of the machine's own root. */
export interface TlsFiles {
  ca: readonly string[];
  cert?: string;
  /** Absent: the key lies in the same file. */
  key?: string;
  skipVerify: boolean;
}

/** Whether the configuration says anything about TLS. */
export function saysTls({ ca, cert, skipVerify }: TlsFiles): boolean {
  return ca.length > 0 || cert !== undefined || skipVerify;
}

/** Throws `CONFIGURATION` for files that are missing or hold something else. @param path the configuration that names them */
export async function readTls(
  { ca, cert, key, skipVerify }: TlsFiles,
  root: string,
  path: string,
): Promise<TlsSettings> {
  const read = async (name: string): Promise<string> => {
    const file = root + name,
      text = await readOptional(file, () => {
        throw unusable(file, "it may not be read", path);
      });
    if (text === undefined) throw unusable(file, "it does not exist", path);
    return text;
  };
  const authorities: string[] = [];
  for (const name of ca) {
    const found = certificatesOf(await read(name));
    if (found === undefined) throw unusable(root + name, "it is no certificate in PEM form", path);
    authorities.push(...found);
  }
  const client = cert === undefined ? {} : { cert: await read(cert), key: await read(key ?? cert) };
  return { ca: authorities, ...client, ...(skipVerify && { skipVerify }) };
}

function unusable(file: string, why: string, path: string): CosError {
  return new CosError("CONFIGURATION", `Cannot use ${file}, which ${path} names: ${why}.`, {
    hint: "Put the file there, or take its name out of the configuration.",
  });
}

/** The registry itself, with what the configuration has for it, else with what the machine has for its host. */
export async function upstream(
  reference: Pick<MirrorReference, "host" | "repository">,
  tls: TlsSettings | undefined,
  { plainHttp, hostTls }: MirrorOptions,
): Promise<Endpoint> {
  return registryEndpoint(reference, { plainHttp, tls: tls ?? await hostTls(reference.host) });
}

/**
 * `https` where something speaks TLS there, trusted or not, else `http`: for hosts at which the configuration allows both, as
 * containers' `insecure` does, and containerd where a host without TLS has certificates.
 */
export async function schemeOf(
  host: string,
  tls: TlsSettings,
  fetch: MirrorOptions["fetch"],
): Promise<"https" | "http"> {
  try {
    const init: RequestInit = { redirect: "manual", signal: AbortSignal.timeout(PROBE_LIMIT) };
    const response = await fetch(`https://${host}/v2/`, init, { ...tls, skipVerify: true });
    await response.body?.cancel();
    return "https";
  } catch {
    return "http";
  }
}

/** The endpoint with the scheme that its host speaks, where TLS was configured for one that is said to be plain. */
export async function withScheme(endpoint: Endpoint, configured: boolean, { fetch }: MirrorOptions): Promise<Endpoint> {
  const { protocol, host, port } = new URL(endpoint.origin);
  // Port 80 (which URLs leave out) is plain, whatever stands beside it.
  if (!configured || protocol !== "http:" || port === "") return endpoint;
  return { ...endpoint, origin: `${await schemeOf(host, endpoint.tls, fetch)}://${host}` };
}
