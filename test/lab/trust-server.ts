/** Serves metadata of content trust that a test made or kept, as a trust server would. */
import type { Notary } from "./notary.ts";
import type { TrustFiles } from "./signing/content-trust.ts";

export interface TrustServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, or with https. */
  url: string;
  /** What it serves from now on, for every repository. */
  files: TrustFiles;
  /** The paths that were asked for, with who asked. */
  seen: string[];
  /** Answers in place of the files; undefined: the file. */
  instead?: ((request: Request) => Response | undefined) | undefined;
}

/** @param tls PEM files; without them it speaks plain HTTP. */
export function serveTrust(files: TrustFiles, tls?: { certificate: string; key: string }): TrustServer {
  const secure = tls && { cert: Deno.readTextFileSync(tls.certificate), key: Deno.readTextFileSync(tls.key) };
  const http = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {}, ...secure }, (request) => {
    const { pathname } = new URL(request.url), name = /\/_trust\/tuf\/(.+)\.json$/.exec(pathname)?.[1] ?? "";
    server.seen.push(`${pathname} ${request.headers.get("authorization") ?? "-"}`);
    const answer = server.instead?.(request);
    if (answer !== undefined) return answer;
    const bytes = server.files.get(name);
    return bytes === undefined ? new Response("{}", { status: 404 }) : new Response(bytes);
  });
  const server: TrustServer = {
    url: `${secure === undefined ? "http" : "https"}://127.0.0.1:${http.addr.port}`,
    files,
    seen: [],
    [Symbol.asyncDispose]: () => http.shutdown(),
  };
  return server;
}

/** All that a real server has of a repository at this moment: a copy of its storage. */
export async function copyOf({ file }: Notary, gun: string): Promise<TrustFiles> {
  const copy: TrustFiles = new Map();
  const names = ["root", "timestamp", "snapshot", "targets", "targets/releases"];
  for (let version = 1; version <= 20; version++) names.push(`${version}.root`);
  for (const name of names) {
    const bytes = await file(gun, name);
    if (bytes === undefined) continue;
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
    copy.set(name, bytes).set(`${name}.${hash}`, bytes);
  }
  return copy;
}
