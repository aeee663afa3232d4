/** A token server as docker-registry 2.8 wants one: JSON web tokens, signed with a key whose certificate the registry knows. */
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { join } from "node:path";
import { run } from "./run.ts";

export interface TokenServerOptions {
  /** Where its key and certificate are written. */
  directory: string;
  /** PEM files; without them it speaks plain HTTP. */
  tls?: { certificate: string; key: string };
  /** Who may pull; absent: anybody. */
  login?: { username: string; password: string };
  /** Takes this instead of a login: RFC 6749, section 6. */
  refreshToken?: string;
  /** Seconds that a token is valid for. */
  lifetime?: number;
}

export interface TokenServer extends AsyncDisposable {
  /** For the registry's configuration. */
  registry: { realm: string; service: string; issuer: string; rootcertbundle: string };
  /** Each request: method, and its parameters in the order in which they came, without secrets. */
  seen: string[];
  /** Seconds that the next tokens are valid for. */
  lifetime: number;
}

const SERVICE = "lab registry", ISSUER = "lab issuer";

export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const key = join(options.directory, "token.key"), certificate = join(options.directory, "token.crt");
  await run("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7", "-subj", "/CN=lab tokens"],
    ...["-keyout", key, "-out", certificate],
  ]);
  const privateKey = createPrivateKey(Deno.readTextFileSync(key));
  const chain = [Deno.readTextFileSync(certificate).replace(/-----[^-]+-----|\s/g, "")];
  const encode = (value: object) => toUrlBase64(new TextEncoder().encode(JSON.stringify(value)));
  const tokenFor = (scope: string) => {
    const now = Math.floor(Date.now() / 1000), [type, name, actions = ""] = scope.split(":");
    // Its clock and the registry's are one; the leeway of docker-registry is a minute.
    const claims = {
      iss: ISSUER,
      sub: "lab",
      aud: SERVICE,
      exp: now + server.lifetime,
      nbf: now - 1,
      iat: now,
      jti: randomUUID(),
      access: [{ type, name, actions: actions.split(",") }],
    };
    const text = `${encode({ typ: "JWT", alg: "RS256", x5c: chain })}.${encode(claims)}`;
    return `${text}.${toUrlBase64(sign("RSA-SHA256", new TextEncoder().encode(text), privateKey))}`;
  };
  const allowed = (request: Request, parameters: URLSearchParams): boolean => {
    const { login, refreshToken } = options;
    if (refreshToken !== undefined && parameters.get("refresh_token") === refreshToken) return true;
    return login === undefined
      ? refreshToken === undefined
      : request.headers.get("authorization") === `Basic ${btoa(`${login.username}:${login.password}`)}`;
  };
  const answer = async (request: Request): Promise<Response> => {
    const parameters = request.method === "POST"
      ? new URLSearchParams(await request.text())
      : new URL(request.url).searchParams;
    const shown = [...parameters].map(([name, value]) => `${name}=${name === "refresh_token" ? "…" : value}`);
    server.seen.push(`${request.method} ${shown.join("&")}`);
    if (request.method === "POST" && options.refreshToken === undefined) return new Response(null, { status: 405 });
    if (parameters.get("service") !== SERVICE || !allowed(request, parameters)) {
      return Response.json({ details: "no such user" }, { status: 401 });
    }
    const token = tokenFor(parameters.get("scope") ?? "");
    const { lifetime } = server;
    return Response.json(
      request.method === "POST" ? { access_token: token, expires_in: lifetime } : { token, expires_in: lifetime },
    );
  };
  const tls = options.tls && {
    cert: Deno.readTextFileSync(options.tls.certificate),
    key: Deno.readTextFileSync(options.tls.key),
  };
  const http = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {}, ...tls }, answer);
  const realm = `${tls === undefined ? "http" : "https"}://127.0.0.1:${http.addr.port}/auth`;
  const server: TokenServer = {
    registry: { realm, service: SERVICE, issuer: ISSUER, rootcertbundle: certificate },
    seen: [],
    lifetime: options.lifetime ?? 300,
    [Symbol.asyncDispose]: () => http.shutdown(),
  };
  return server;
}

function toUrlBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
