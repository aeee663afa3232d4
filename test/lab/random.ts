/** Random numbers that are the same in every run, so that what a fuzzer found once it finds again (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to `below` - 1. */
  next(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.next(items.length)] as T;
  }

  /** A copy with a few bytes or stretches changed, doubled, moved, left out, or the end cut. */
  mutate(bytes: Uint8Array): Uint8Array {
    let result = bytes.slice();
    for (let changes = 1 + this.next(4); changes > 0 && result.length > 0; changes--) {
      const at = this.next(result.length), length = this.next(Math.min(1024, result.length - at) + 1);
      switch (this.next(7)) {
        case 0:
          result[at] = this.next(256);
          break;
        case 1:
          result[at] = (result[at] ?? 0) ^ 1 << this.next(8);
          break;
        case 2:
          result.fill(this.pick([0, 0xff, 0x20, 0x30, 0x37, 0x39]), at, at + length);
          break;
        case 3:
          result = joined(result.subarray(0, at), result.subarray(at + length));
          break;
        case 4:
          result = joined(result.subarray(0, at + length), result.subarray(at));
          break;
        case 5:
          result = result.slice(0, at);
          break;
        case 6:
          result.set(bytes.subarray(0, Math.min(length, bytes.length, result.length - at)), at);
          break;
      }
    }
    return result;
  }
}

/** A number for `Random` out of words (FNV-1a). */
export function seedOf(words: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(words)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}
