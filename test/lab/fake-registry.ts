/**
 * A registry that misbehaves as a test wants it to: `docker-registry` is honest and cannot. It serves blobs and manifests out
 * of maps, and each test lays its own answer over a request where it needs one.
 */
import { sha256 } from "./oci-layout.ts";
import { bytesOf } from "./tar-writer.ts";

export interface Seen {
  method: string;
  /** Path and query. */
  url: string;
  /** Which server: `registry`, `storage` or `token`. */
  server: string;
  authorization: string | null;
  range: string | null;
  accept: string | null;
}

/** Undefined: the ordinary answer. */
export type Answer = (request: Request, url: URL) => Response | undefined | Promise<Response | undefined>;

export interface FakeRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** A second origin, where redirects lead: `http://127.0.0.1:PORT`. It serves the same blobs under `/blob/DIGEST`. */
  storage: string;
  /** A third: the token server. */
  tokens: string;
  seen: Seen[];
  /** Asked first; the test's own. */
  answer: Answer;
  answerStorage: Answer;
  answerToken: Answer;
  /** Without a range the whole blob comes; `false` ignores ranges. */
  ranges: boolean;
  /** Stores a blob and returns its descriptor. */
  blob(content: string | Uint8Array, mediaType?: string): { mediaType: string; digest: string; size: number };
  /** Stores a manifest under its digest, and under the tags. */
  manifest(
    body: Record<string, unknown>,
    ...tags: string[]
  ): { mediaType: string; digest: string; size: number; bytes: Uint8Array };
}

export function fakeRegistry(): FakeRegistry {
  const blobs = new Map<string, Uint8Array>();
  const manifests = new Map<string, { bytes: Uint8Array; mediaType: string }>();
  const servers: Deno.HttpServer<Deno.NetAddr>[] = [];

  const serve = (name: string, handler: (request: Request, url: URL) => Promise<Response>) => {
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
      const url = new URL(request.url), { headers, method } = request;
      registry.seen.push({
        method,
        url: url.pathname + url.search,
        server: name,
        authorization: headers.get("authorization"),
        range: headers.get("range"),
        accept: headers.get("accept"),
      });
      return handler(request, url);
    });
    servers.push(server);
    return `127.0.0.1:${server.addr.port}`;
  };

  const serveBlob = (request: Request, digest: string): Response => {
    const bytes = blobs.get(digest);
    if (bytes === undefined) return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    const range = registry.ranges ? /^bytes=([0-9]+)-$/.exec(request.headers.get("range") ?? "") : null;
    if (range === null) return body(bytes);
    const start = Number(range[1]);
    const headers = { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
    return body(bytes.subarray(start), { status: 206, headers });
  };

  const registry: FakeRegistry = {
    host: "",
    storage: "",
    tokens: "",
    seen: [],
    ranges: true,
    answer: () => undefined,
    answerStorage: () => undefined,
    answerToken: () => Response.json({ token: "t0ken" }),
    blob(content, mediaType = "application/octet-stream") {
      const bytes = bytesOf(content), digest = sha256(bytes);
      blobs.set(digest, bytes);
      return { mediaType, digest, size: bytes.length };
    },
    manifest(json, ...tags) {
      const bytes = bytesOf(JSON.stringify(json)), digest = sha256(bytes), mediaType = String(json.mediaType);
      for (const name of [digest, ...tags]) manifests.set(name, { bytes, mediaType });
      return { mediaType, digest, size: bytes.length, bytes };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => server.shutdown()));
    },
  };
  registry.host = serve("registry", async (request, url) => {
    const own = await registry.answer(request, url);
    if (own !== undefined) return own;
    const [, kind, name = ""] = /^\/v2\/.+\/(manifests|blobs)\/([^/]+)$/.exec(url.pathname) ?? [];
    if (kind === "blobs") return serveBlob(request, name);
    const found = manifests.get(name);
    // As docker-registry does: a type that the client does not accept is not there.
    if (found === undefined || !(request.headers.get("accept") ?? "").includes(found.mediaType)) {
      return error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    }
    return body(found.bytes, { headers: { "content-type": found.mediaType } });
  });
  registry.storage = `http://${
    serve("storage", async (request, url) => {
      return await registry.answerStorage(request, url) ?? serveBlob(request, url.pathname.slice("/blob/".length));
    })
  }`;
  registry.tokens = `http://${
    serve("token", async (request, url) => {
      return await registry.answerToken(request, url) ?? new Response(null, { status: 500 });
    })
  }`;
  return registry;
}

export function body(bytes: Uint8Array, init: ResponseInit = {}): Response {
  return new Response(bytes as Uint8Array<ArrayBuffer>, init);
}

/** An answer as the distribution specification writes errors. */
export function error(status: number, code: string, message: string, headers: Record<string, string> = {}): Response {
  return Response.json({ errors: [{ code, message }] }, { status, headers });
}

export function challenge(header: string): Response {
  return error(401, "UNAUTHORIZED", "authentication required", { "www-authenticate": header });
}

export function redirect(to: string, status = 307): Response {
  return new Response(null, { status, headers: { location: to } });
}

/** A body that announces more than it sends: the connection breaks behind the last byte. */
export function cutBody(bytes: Uint8Array, init: ResponseInit & { headers?: Record<string, string> } = {}): Response {
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes.slice());
      controller.close();
    },
  });
  return new Response(stream, { ...init, headers: { ...init.headers, "content-length": String(bytes.length + 1) } });
}
