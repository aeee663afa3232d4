/** Hardlinks of a layer that stand before their target: they are made when the layer's other entries are. */
import type { ByteString } from "../base/byte-string.ts";
import { broken } from "./errors.ts";

/** Few archives have any, and those have some hundreds: a bound for whoever sends nothing else. Bytes of names. */
const MOST = 64 * 1024 * 1024;

export class DeferredLinks {
  /** The target of each, both as clean paths. */
  #targets = new Map<ByteString, ByteString>();
  #bytes = 0;

  add(path: ByteString, target: ByteString): void {
    this.#bytes += path.length + target.length;
    if (this.#bytes > MOST) throw broken("it has too many hardlinks that stand before their target");
    this.#targets.set(path, target);
  }

  /** The name is a link's that is not made yet: what has it in the tree is still another file. */
  has(path: ByteString): boolean {
    return this.#targets.size > 0 && this.#targets.has(path);
  }

  /** Another entry has the name now: the last one wins. */
  forget(path: ByteString): void {
    if (this.#targets.size > 0) this.#targets.delete(path);
  }

  /** All, each behind the one that it leads to. */
  *take(): Generator<[path: ByteString, target: ByteString]> {
    const targets = this.#targets, seen = new Set<ByteString>();
    this.#targets = new Map();
    this.#bytes = 0;
    for (const first of targets.keys()) {
      const chain: [ByteString, ByteString][] = [];
      for (let path = first; !seen.has(path);) {
        const target = targets.get(path);
        if (target === undefined) break;
        seen.add(path);
        chain.push([path, target]);
        path = target;
      }
      yield* chain.reverse();
    }
  }
}
