/** Asking the cluster's API which image this pod runs, by its digest. */
import { displayText } from "../base/byte-string.ts";
import { messageOf } from "../base/errors.ts";
import { isFormatError } from "../formats/format-error.ts";
import { imageOfPod } from "../formats/pod.ts";
import type { RegistryReference } from "../formats/reference.ts";
import type { ServiceAccount } from "../machine/pod.ts";
import type { System } from "../system/system.ts";

export interface ApiAddress {
  host: string;
  port: string;
  /** The pod's name. */
  pod: string;
}

export type OwnImage = { image: RegistryReference } | {
  /** Why nothing was told: part of a sentence. */
  why: string;
};

/** The name of the container that does the work of a Plan's job. */
const CONTAINER = "upgrade";
/** An API that does not answer keeps nobody waiting for longer. Milliseconds. */
const LIMIT = 15_000;
/** Of a pod's description; etcd keeps none that is larger. Bytes. */
const MOST = 2 * 1024 * 1024;

/** Whatever the API does, it is no error: it may refuse, and then other ways are left. Throws only the signal's reason. */
export async function askOwnImage(
  system: Pick<System, "fetch">,
  { host, port, pod }: ApiAddress,
  { token, ca, namespace }: ServiceAccount,
  signal: AbortSignal,
  limit = LIMIT,
): Promise<OwnImage> {
  const address = host.includes(":") ? `[${host}]` : host;
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}`;
  try {
    const response = await system.fetch(`https://${address}:${port}${path}`, {
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
      // The token is for this server alone.
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(limit)]),
    }, { ca: [ca] });
    const text = await readBody(response);
    if (response.status !== 200) return { why: `the cluster's API answers ${response.status}` };
    return { image: imageOfPod(text, CONTAINER) };
  } catch (thrown) {
    signal.throwIfAborted();
    if (isFormatError(thrown)) return { why: `the cluster's API ${thrown.message}` };
    const late = thrown instanceof DOMException && thrown.name === "TimeoutError";
    return { why: `the cluster's API cannot be asked: ${late ? "it does not answer" : rootOf(thrown)}` };
  }
}

/** The runtime says "fetch failed", and why only further down. */
function rootOf(thrown: unknown): string {
  let at = thrown;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  return displayText(messageOf(at), 200);
}

async function readBody(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "", size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MOST) throw new Error(`it sends more than ${MOST} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
