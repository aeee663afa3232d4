/** What went wrong between us and a server, in words for people. */
import { buildInfo } from "../base/build-info.ts";
import { CosError, messageOf } from "../base/errors.ts";
import { ProxyError } from "../system/http.ts";

/** A connection that could not be made, or broke. */
export class ConnectionError extends CosError {
  /** @param passing whether a later try may succeed. */
  constructor(message: string, readonly passing: boolean, hint: string, cause: unknown) {
    super("REGISTRY_UNREACHABLE", message, { hint, cause });
  }
}

export function unreachable(host: string, why: Reason, cause: unknown): ConnectionError {
  return new ConnectionError(
    `Cannot reach the registry ${host}: it ${why.text}.`,
    why.passing,
    why.hint,
    discreet(cause),
  );
}

/** An answer that began, and did not come to its end. */
export class BodyError extends ConnectionError {}

/** @param passing whether another try may bring more. */
export function broken(host: string, cause: unknown, passing = true): BodyError {
  return new BodyError(
    `The connection to ${host} broke: ${hidden(messageOf(cause))}.`,
    passing,
    "Check the network and run it again: what was there before is not touched.",
    discreet(cause),
  );
}

/** Addresses without what stands behind the host: storage is reached by addresses that are passwords themselves. */
function hidden(text: string): string {
  return text.replace(/\b(https?:\/\/)(?:[^\s\/?#@]*@)?([^\s\/?#()]+)[^\s()]*/g, "$1$2");
}

/** The same error for `--debug`, which people paste into reports. */
function discreet(cause: unknown): unknown {
  if (!(cause instanceof Error)) return cause;
  const copy = new Error(hidden(cause.message), cause.cause === undefined ? {} : { cause: discreet(cause.cause) });
  copy.stack = hidden(cause.stack ?? "");
  return copy;
}

export interface Reason {
  /** Goes on behind "it". */
  text: string;
  passing: boolean;
  hint: string;
}

const NETWORK =
  "Check the network, the registry's name, a proxy (HTTPS_PROXY) and that the registry runs; then run it again.";
const TRUST =
  "Set the clock, or put the CA's certificate where docs/registries.md says: /etc/docker/certs.d/HOST/ca.crt, or the file that SSL_CERT_FILE names.";

/** What of a failed connection tells people something. @param now milliseconds since 1970 */
export function reasonOf(cause: unknown, now: number): Reason {
  if (cause instanceof ProxyError) {
    const { text, passing } = reasonOf(cause.cause, now);
    return { text: `cannot be reached through the proxy ${cause.proxy}, which ${text}`, passing, hint: NETWORK };
  }
  let text = messageOf(cause);
  if (cause instanceof Error && cause.cause instanceof Error) text += `: ${cause.cause.message}`;
  text = hidden(text);
  if (/proxy authentication required/i.test(text)) {
    return {
      text: "wants a login",
      passing: false,
      hint: "Put user and password into the proxy's address: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
    };
  }
  if (/refused/i.test(text)) return { text: "refuses connections", passing: true, hint: NETWORK };
  if (/dns|lookup|resolve/i.test(text)) {
    return { text: "has a name that cannot be looked up", passing: true, hint: NETWORK };
  }
  if (/peer certificate|UnknownIssuer|CertExpired|NotValid|self.signed|unable to verify/i.test(text)) {
    return { text: `has no certificate that this machine trusts (${text}${clock(now)})`, passing: false, hint: TRUST };
  }
  if (/certificate ?required|CertificateRequired|bad ?certificate|handshake ?failure/i.test(text)) {
    return {
      text: `ends the TLS handshake; it may want a client certificate (${text})`,
      passing: false,
      hint:
        "Put the client's certificate and key where docs/registries.md says: /etc/docker/certs.d/HOST/client.cert and client.key.",
    };
  }
  if (/connection (?:closed|reset)|broken pipe/i.test(text)) {
    const hint = `${NETWORK} A registry that wants a client certificate may close the connection, too.`;
    return { text: `closes the connection (${text})`, passing: true, hint };
  }
  return { text: `cannot be spoken to (${text})`, passing: true, hint: NETWORK };
}

/** A clock that stands before the day this program was made is wrong, and every certificate is then "not yet valid". */
function clock(now: number): string {
  const { builtAt } = buildInfo();
  if (now >= builtAt) return "";
  const day = (at: number) => new Date(at).toISOString().slice(0, 10);
  return `; this machine's clock says ${day(now)}, but this program was made on ${day(builtAt)}: set the clock first`;
}
