/**
 * Which proxy a request goes through: the rules of Go's golang.org/x/net/http/httpproxy, which docker, podman and the other
 * tools on these machines follow, so that one setting serves them all.
 */
import { displayText } from "../base/byte-string.ts";
import { sameBytes } from "../base/bytes.ts";
import { CosError } from "../base/errors.ts";
import { inNetwork, type Ip, isLoopbackIp, type Network, parseIp, parseNetwork } from "./ip.ts";

/** What the environment says; empty where a variable is not set. */
export interface ProxyVariables {
  httpProxy: string;
  httpsProxy: string;
  noProxy: string;
  /** `REQUEST_METHOD` is set: in a CGI program `HTTP_PROXY` is a header of the request, and anybody's. */
  cgi: boolean;
}

export interface Proxy {
  /** Scheme, host and port, without user and password. */
  url: string;
  socks: boolean;
  username: string;
  password: string;
}

export type ProxyRules = (url: URL) => Proxy | undefined;

const SCHEMES = ["http:", "https:", "socks5:", "socks5h:"];
const PORTS: Record<string, string> = { "http:": "80", "https:": "443" };

/** Throws `CONFIGURATION` where a proxy is wanted that cannot be used; only when a request would go through it. */
export function proxyRules(variables: ProxyVariables): ProxyRules {
  const excepted = exceptions(variables.noProxy);
  return (url) => {
    const secure = url.protocol === "https:", text = secure ? variables.httpsProxy : variables.httpProxy;
    if (text === "" || excepted(url.hostname, url.port || (PORTS[url.protocol] ?? ""))) return undefined;
    if (!secure && variables.cgi) {
      throw unusable("HTTP_PROXY", "REQUEST_METHOD is set, so that anybody could have said it");
    }
    return parseProxy(text, secure ? "HTTPS_PROXY" : "HTTP_PROXY");
  };
}

function parseProxy(text: string, variable: string): Proxy {
  // "proxy:3128" is a URL of the scheme "proxy:" to a parser; what has no "//" is host and port.
  const url = URL.parse(/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text) ? text : `http://${text}`);
  if (url === null || url.hostname === "") throw unusable(variable, "it is no address");
  if (!SCHEMES.includes(url.protocol)) {
    throw unusable(variable, `it wants ${displayText(url.protocol)}//, and only http, https and socks5 are known`);
  }
  const socks = url.protocol.startsWith("socks");
  return {
    url: `${url.protocol}//${url.host}`,
    socks,
    username: decoded(url.username),
    password: decoded(url.password),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A percent sign that stands for itself.
    return text;
  }
}

function unusable(variable: string, why: string): CosError {
  // The address may hold a password: it is not repeated.
  return new CosError("CONFIGURATION", `Cannot use the proxy that ${variable} names: ${why}.`, {
    hint: `Set ${variable}=http://[USER:PASSWORD@]HOST:PORT, or name what needs no proxy in NO_PROXY.`,
  });
}

interface HostRule {
  /** With a dot in front. */
  suffix: string;
  /** Also the name itself, not only what is below it. */
  itself: boolean;
  /** Empty: any. */
  port: string;
}

/** Whether a host needs no proxy. */
function exceptions(noProxy: string): (host: string, port: string) => boolean {
  let all = false;
  const hosts: HostRule[] = [], networks: Network[] = [], addresses: { ip: Ip; port: string }[] = [];
  for (const part of noProxy.split(",")) {
    const entry = part.trim().toLowerCase();
    if (entry === "") continue;
    if (entry === "*") {
      all = true;
      continue;
    }
    const network = parseNetwork(entry);
    if (network !== undefined) {
      networks.push(network);
      continue;
    }
    const [host, port] = splitPort(entry);
    const ip = parseIp(host);
    if (ip !== undefined) addresses.push({ ip, port });
    else if (host !== "") {
      const name = ascii(host.replace(/^\*\./, ".")), itself = !name.startsWith(".");
      hosts.push({ suffix: itself ? `.${name}` : name, itself, port });
    }
  }
  return (hostname, port) => {
    const host = hostname.replace(/^\[|\]$/g, "").toLowerCase(), ip = parseIp(host);
    if (all || host === "localhost" || (ip !== undefined && isLoopbackIp(ip))) return true;
    const addressed = ip !== undefined && (networks.some((network) => inNetwork(ip, network)) ||
      addresses.some((a) => sameBytes(a.ip, ip) && (a.port === "" || a.port === port)));
    // The names' rules are about text, and an address is text as well.
    return addressed ||
      hosts.some((rule) =>
        (host.endsWith(rule.suffix) || (rule.itself && host === rule.suffix.slice(1))) &&
        (rule.port === "" || rule.port === port)
      );
  };
}

/** A name as URLs have it: `xn--bcher-kva` for `bücher`. */
function ascii(name: string): string {
  if (/^[\x00-\x7f]*$/.test(name)) return name;
  const dot = name.startsWith(".") ? "." : "";
  return dot + (URL.parse(`http://${name.slice(dot.length)}/`)?.hostname ?? name.slice(dot.length));
}

/** `host:port`, `[IPv6]:port`, or neither; the port is empty where none is given. */
function splitPort(entry: string): [string, string] {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(entry);
  if (bracketed !== null) return [bracketed[1] ?? "", bracketed[2] ?? ""];
  const colon = entry.indexOf(":");
  // More than one colon: an IPv6 address as it is.
  if (colon < 0 || entry.indexOf(":", colon + 1) >= 0) return [entry, ""];
  return [entry.slice(0, colon), entry.slice(colon + 1)];
}
