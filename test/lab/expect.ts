/** Expectations that tests share: an error is compared by its code and its whole message. */
import assert from "node:assert/strict";
import { CosError, type ErrorCode } from "../../lib/base/errors.ts";

/** What people read of an error, for comparison as a whole. */
export interface Told {
  code: ErrorCode;
  message: string;
}

export function fails(action: () => unknown, code: ErrorCode, message: string): void {
  assert.deepEqual(thrownBy(action), { code, message });
}

export async function rejects(action: () => Promise<unknown>, code: ErrorCode, message: string): Promise<void> {
  assert.deepEqual(await rejectionOf(action), { code, message });
}

/** The error's code and message; anything but a `CosError` is thrown on, and none is a failure. */
export function thrownBy(action: () => unknown): Told {
  let result: unknown;
  try {
    result = action();
  } catch (thrown) {
    return told(thrown);
  }
  assert.fail(`nothing was thrown, but ${Deno.inspect(result)} came back`);
}

export async function rejectionOf(action: () => Promise<unknown>): Promise<Told> {
  let result: unknown;
  try {
    result = await action();
  } catch (thrown) {
    return told(thrown);
  }
  assert.fail(`nothing was thrown, but ${Deno.inspect(result)} came back`);
}

function told(thrown: unknown): Told {
  if (!(thrown instanceof CosError)) throw thrown;
  return { code: thrown.code, message: thrown.message };
}

/** All items of a stream. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** The descriptors that this process holds. */
export function openDescriptors(): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      found.push(`${name} → ${Deno.readLinkSync(`/proc/self/fd/${name}`)}`);
    } catch (thrown) {
      // The descriptor of this very listing is gone by now.
      if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
    }
  }
  return found.sort();
}
