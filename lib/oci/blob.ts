/** A blob's bytes from one place after another: what came before a break is kept, and the next request begins behind it. */
import { CosError } from "../base/errors.ts";
import { formatSize } from "../base/size.ts";
import type { Descriptor } from "../formats/manifest.ts";
import { bodyChunks, encodingOf } from "./body.ts";
import type { EndpointClient } from "./client.ts";
import { mayPass, Reconnects } from "./retry.ts";
import type { Answer, Transport } from "./transport.ts";

/** Where a blob may be had. */
export interface Place {
  /** For messages. */
  host: string;
  /** Tells it from others, also from those at the same host. */
  key: string;
  /** Requests the bytes from `offset`; an answer that has none is an error. */
  open(offset: number, signal?: AbortSignal): Promise<Answer>;
  error(why: string, code?: "REGISTRY_ERROR" | "REGISTRY_UNREACHABLE"): CosError;
  /** As in "WHO closed the connection". */
  who: string;
}

export interface Progress {
  /** Bytes that were handed on so far. */
  done: number;
}

/**
 * Goes on with the download at `progress.done`. Throws when this place does not have the rest: what was handed on stays counted.
 * @param exact a length that is not the descriptor's is refused before a byte of it is handed on: another place is left to ask
 */
export async function* download(
  place: Place,
  descriptor: Descriptor,
  progress: Progress,
  transport: Transport,
  exact: boolean,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const reconnects = new Reconnects(), { size } = descriptor;
  for (;;) {
    const start = progress.done;
    const { response, from } = await place.open(start, signal);
    try {
      for await (const chunk of useful(place, response, from, start, size, exact, transport.stallLimit, signal)) {
        progress.done += chunk.length;
        yield chunk;
        if (progress.done > size) return; // the caller knows the size too, and says what is wrong
      }
      if (progress.done >= size) return;
      const missing = size - progress.done;
      throw place.error(`${place.who} closed the connection ${missing} bytes early`, "REGISTRY_UNREACHABLE");
    } catch (thrown) {
      signal?.throwIfAborted();
      if (!(thrown instanceof CosError) || thrown.code !== "REGISTRY_UNREACHABLE") throw thrown;
      const delay = reconnects.next(progress.done, transport.now());
      if (delay === undefined) throw thrown;
      const at = `at ${formatSize(progress.done)} of ${formatSize(size)}`;
      await transport.wait(delay, `The download from ${from.host} broke ${at}; going on in`, signal);
    }
  }
}

/** The pieces of an answer that are not known yet. */
async function* useful(
  place: Place,
  response: Response,
  from: URL,
  start: number,
  size: number,
  exact: boolean,
  limit: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let skip = 0, announced = size - start;
  if (response.status === 206) {
    if (!isRest(response.headers, start, size)) {
      await response.body?.cancel();
      throw place.error(`${place.who} answered a request for the bytes from ${start} with others`);
    }
  } else {
    // A registry that ignores the range sends everything again.
    skip = start;
    announced = size;
  }
  const length = response.headers.get("content-length");
  if (exact && length !== null && Number(length) !== announced) {
    await response.body?.cancel();
    throw place.error(`${place.who} announces ${length} bytes where the manifest says ${announced}`);
  }
  for await (const chunk of bodyChunks(response, from.host, limit, signal)) {
    const known = Math.min(skip, chunk.length);
    skip -= known;
    if (known < chunk.length) yield known === 0 ? chunk : chunk.subarray(known);
  }
}

/** `Content-Range: bytes START-LAST/SIZE` (RFC 9110, section 14.4); a size that is another is another blob. */
function isRest(headers: Headers, start: number, size: number): boolean {
  const match = /^bytes ([0-9]+)-([0-9]+)\/(\*|[0-9]+)$/.exec(headers.get("content-range") ?? "");
  if (match === null) return false;
  const [, first, last, total] = match;
  return Number(first) === start && Number(last) >= start && (total === "*" || Number(total) === size);
}

/** The blob at an endpoint of the registry. */
export function endpointPlace(client: EndpointClient, descriptor: Descriptor): Place {
  const { who } = client.options;
  return {
    host: client.host,
    key: client.key,
    who,
    error: (why, code) => client.error(why, code),
    async open(offset, signal) {
      const range: Record<string, string> = offset > 0 ? { Range: `bytes=${offset}-` } : {};
      const answer = await client.get("blobs", descriptor.digest, range, signal), { response } = answer;
      if (response.status === 416) {
        await response.body?.cancel();
        throw client.error(`${who} has only ${offset} of the ${descriptor.size} bytes of a blob`);
      }
      if (response.status !== 200 && response.status !== 206) throw await client.failure(answer, "blob", signal);
      await client.refuseEncoded(answer, "blob");
      return answer;
    },
  };
}

const FOREIGN = /^application\/vnd\.(?:oci\.image\.layer\.nondistributable|docker\.image\.rootfs\.foreign)\./;
/** More addresses of one layer than this are not tried. */
const MAX_URLS = 8;

/**
 * Where the manifest says that a layer lies which registries may not hand out (OCI image-spec, "Non-Distributable Layers"). They
 * come without any login, and only over TLS: whoever wrote the manifest named the host.
 */
export function foreignPlaces(descriptor: Descriptor, transport: Transport, subject: string): Place[] {
  if (!FOREIGN.test(descriptor.mediaType ?? "")) return [];
  const urls = (descriptor.urls ?? []).slice(0, MAX_URLS).flatMap((text) => URL.parse(text) ?? []);
  return urls.filter(({ protocol, username }) => protocol === "https:" && username === "").map((url) => {
    const error: Place["error"] = (why, code = "REGISTRY_ERROR") =>
      new CosError(code, `Cannot pull ${subject}: ${why}.`, {
        hint: "The layer is kept outside the registry; ask whoever made the image.",
      });
    return {
      host: url.host,
      key: url.href,
      who: url.host,
      error,
      async open(offset, signal) {
        const headers: Record<string, string> = offset > 0 ? { Range: `bytes=${offset}-` } : {};
        const answer = await transport.ask({ url, headers, tls: { ca: [] }, subject, who: url.host, signal });
        const { status, body } = answer.response, encoding = encodingOf(answer.response);
        if ((status === 200 || status === 206) && encoding === undefined) return answer;
        await body?.cancel();
        if (status !== 200 && status !== 206) {
          throw error(`${url.host} answered the request for a layer with status ${status}`);
        }
        throw error(`${url.host} sent a layer compressed once more (${encoding}), unasked`);
      },
    };
  });
}

/** Whether a place that failed so need not be asked for the next blob either: it was given all its tries already. */
export function isDown({ code, details: { status } }: CosError): boolean {
  return code === "REGISTRY_UNREACHABLE" || code === "UNAUTHORIZED" || (typeof status === "number" && mayPass(status));
}
