/** A second thread: what it does is in the module that it starts with (`lib/operations/second-thread.ts`). */

/** What goes either way: for one of the services that the thread offers, or from it. */
export interface Envelope<Message> {
  service: string;
  message: Message;
}

/** One service of the thread, seen from here. */
export interface Channel<Out, In> {
  /** False: there is no second thread on this machine. Then the work is to be done on this one. */
  readonly ready: Promise<boolean>;
  send(message: Out, transfer?: ArrayBuffer[]): void;
  /** Only the last one that was given listens. `broken` is called when the thread has ended. */
  listen(heard: (message: In) => void, broken: (reason: unknown) => void): void;
}

interface Listener {
  heard(message: unknown): void;
  broken(reason: unknown): void;
}

/** The first message of a thread. */
export const READY = "ready";

export class Thread implements Disposable {
  readonly #worker: Worker;
  readonly #ready = Promise.withResolvers<boolean>();
  #failure: { reason: unknown } | undefined;
  readonly #listeners = new Map<string, Listener>();

  /** Returns at once: the thread starts while other things are done. */
  constructor(url: string) {
    this.#worker = new Worker(url, { type: "module", name: "second" });
    this.#worker.onmessage = ({ data }: { data: Envelope<unknown> | typeof READY }) => {
      if (data === READY) this.#ready.resolve(true);
      else this.#listeners.get(data.service)?.heard(data.message);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Error(event.message));
    };
    this.#worker.onmessageerror = () => this.#fail(new Error("a message of the second thread was lost"));
  }

  /** As its channels have it. */
  get ready(): Promise<boolean> {
    return this.#ready.promise;
  }

  channel<Out, In>(service: string): Channel<Out, In> {
    return {
      ready: this.#ready.promise,
      send: (message, transfer = []) => this.#worker.postMessage({ service, message }, transfer),
      listen: (heard, broken) => {
        this.#listeners.set(service, { heard: heard as (message: unknown) => void, broken });
        if (this.#failure !== undefined) broken(this.#failure.reason);
      },
    };
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
    this.#fail(new Error("the second thread has ended"));
  }

  #fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#ready.resolve(false);
    for (const { broken } of this.#listeners.values()) broken(reason);
  }
}
