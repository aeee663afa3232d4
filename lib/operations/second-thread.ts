/**
 * The module that the second thread starts with. A service is loaded when the first message for it comes. The static file holds
 * it, with what it needs, as a part of its own (scripts/launcher/parts.ts), so that this thread does not load the whole program.
 */
import { type Envelope, READY } from "../system/thread.ts";

const { COS_MODULE } = globalThis as { COS_MODULE?: (part: string) => string };

/** What the second thread is started with. Asked for when it is: the static file reads a part of itself for it. */
export function secondThread(): string {
  return COS_MODULE?.("second-thread.js") ?? import.meta.url;
}

interface Scope {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  onmessage: ((event: { data: Envelope<unknown> }) => void) | null;
}

type Send = (message: unknown, transfer?: ArrayBuffer[]) => void;
type Service = (message: unknown) => void;

const SERVICES: Record<string, (send: Send) => Promise<Service>> = {
  decoder: async (send) => (await import("../unpack/decoder-service.ts")).serveDecoder(send) as Service,
  files: async (send) => (await import("../image/files-service.ts")).serveFiles(send) as Service,
};

if ("WorkerGlobalScope" in globalThis) serve(globalThis as unknown as Scope);

function serve(scope: Scope): void {
  const running = new Map<string, Promise<Service>>();
  scope.onmessage = async ({ data: { service, message } }) => {
    let started = running.get(service);
    if (started === undefined) {
      const start = SERVICES[service];
      if (start === undefined) throw new Error(`the second thread has no service ${service}`);
      started = start((answer, transfer = []) => scope.postMessage({ service, message: answer }, transfer));
      running.set(service, started);
    }
    (await started)(message);
  };
  scope.postMessage(READY, []);
}
