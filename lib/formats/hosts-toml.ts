/**
 * containerd's `hosts.toml` (docs/hosts.md there, and `core/remotes/docker/config/hosts.go`): which hosts are asked in a
 * registry's stead, and what each of them may be asked.
 */
import * as z from "zod/mini";
import { checked, malformed, withoutLogin } from "./configuration.ts";
import { parseToml } from "./toml.ts";

export interface ConfiguredHost {
  /** `https://HOST[:PORT]`; undefined for the registry that the reference names. */
  origin?: string;
  /** As in `Endpoint`. */
  apiPath: string;
  pull: boolean;
  resolve: boolean;
  skipVerify: boolean;
  /** Files of CAs, relative to the directory that the file lies in. */
  ca: readonly string[];
  /** Files of client certificates with their keys; without a key's name both are in the one file. */
  client: readonly { cert: string; key?: string }[];
  headers: Readonly<Record<string, string>>;
}

const texts = z.union([z.string(), z.array(z.string())]);
const hostFields = {
  capabilities: z.optional(z.array(z.string())),
  ca: z.optional(texts),
  client: z.optional(z.union([z.string(), z.array(z.union([z.string(), z.array(z.string())]))])),
  skip_verify: z.optional(z.boolean()),
  header: z.optional(z.record(z.string(), texts)),
  override_path: z.optional(z.boolean()),
};
const hostSchema = z.looseObject(hostFields);
const fileSchema = z.looseObject({
  ...hostFields,
  server: z.optional(z.string()),
  host: z.optional(z.record(z.string(), hostSchema)),
});

const CAPABILITIES = new Set(["pull", "resolve", "push"]);

/** The hosts in the order in which they are asked; the registry itself, or what `server` puts in its place, is the last. */
export function parseHostsToml(content: string, path: string): ConfiguredHost[] {
  const file = checked(fileSchema, parseToml(content, path), path);
  const mirrors = Object.entries(file.host ?? {}).map(([url, host]) => hostOf(url, host, path));
  return [...mirrors, hostOf(file.server ?? "", file, path)];
}

function hostOf(server: string, host: z.infer<typeof hostSchema>, path: string): ConfiguredHost {
  const place = server === "" ? { apiPath: "/v2" } : placeOf(server, host.override_path === true, path);
  const named = host.capabilities ?? [], given = named.map((capability) => capability.toLowerCase());
  const unknown = named.find((_, i) => !CAPABILITIES.has(given[i] ?? ""));
  if (unknown !== undefined) throw malformed(path, `"${unknown}" is no capability (pull, resolve, push)`);
  // The registry itself has all of them, whatever stands there.
  const all = given.length === 0 || server === "";
  const { ca = [], client = [] } = host;
  return {
    ...place,
    pull: all || given.includes("pull"),
    resolve: all || given.includes("resolve"),
    skipVerify: host.skip_verify === true,
    ca: typeof ca === "string" ? [ca] : ca,
    client: (typeof client === "string" ? [client] : client).map((pair) => clientOf(pair, path)),
    headers: headersOf(host.header ?? {}, path),
  };
}

function clientOf(pair: string | string[], path: string): { cert: string; key?: string } {
  if (typeof pair === "string") return { cert: pair };
  const [cert, key] = pair;
  if (cert === undefined || key === undefined || pair.length !== 2) {
    throw malformed(path, `a pair under "client" has ${pair.length} names of files, not two`);
  }
  return key === "" ? { cert } : { cert, key };
}

function placeOf(server: string, override: boolean, path: string): { origin: string; apiPath: string } {
  const url = URL.parse(server.includes("://") ? server : `https://${server}`);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:") || url.host === "") {
    throw malformed(path, `"${withoutLogin(server)}" is no URL of a host`);
  }
  // Browsers' URLs always have a path; containerd's may have none.
  const given = cleanPath(url.pathname), apiPath = override || given.endsWith("/v2") ? given : `${given}/v2`;
  return { origin: url.origin, apiPath };
}

/** Without empty parts, and without a slash at its end. */
export function cleanPath(pathname: string): string {
  return pathname.split("/").filter((part) => part !== "").map((part) => `/${part}`).join("");
}

function headersOf(headers: Record<string, string | string[]>, path: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const text = typeof value === "string" ? value : value.join(", ");
      // RFC 9110, "Field Names" and "Field Values": anything else could begin another header.
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(text)) {
        throw malformed(path, `the header "${name}" has a name or a value that no header may have`);
      }
      return [name, text];
    }),
  );
}
