/** GNU tar's old form of sparse files, whose maps stand in headers. */
import * as t from "./tar-writer.ts";

export function octal(n: number): string {
  return `${n.toString(8).padStart(11, "0")}\0`;
}

/** GNU's old form: 4 pairs in the header, 21 in each block behind it. */
export function oldSparse(
  map: readonly (readonly [number, number])[],
  real: number,
  content: t.Bytes,
  tailOf = (tail: Uint8Array) => tail,
  name = "sparse",
): t.TarItem[] {
  const pairs = (list: typeof map, room: number) => list.slice(0, room).map(([o, l]) => octal(o) + octal(l)).join("");
  const tail = new Uint8Array(167), put = (at: number, text: string) => tail.set(t.bytesOf(text), at - 345);
  put(386, pairs(map, 4));
  if (map.length > 4) put(482, "\x01");
  put(483, octal(real));
  const blocks: Uint8Array[] = [];
  for (let at = 4; at < map.length; at += 21) {
    const block = new Uint8Array(512);
    block.set(t.bytesOf(pairs(map.slice(at), 21)));
    if (map.length > at + 21) block[504] = 1;
    blocks.push(block);
  }
  const header = { ...t.file(name, "", { format: "gnu" as const, raw: { tail: tailOf(tail) } }), typeflag: "S" };
  const stored = t.bytesOf(content);
  const [head] = [t.tar([{ ...header, claimedSize: stored.length }], { endBlocks: 0 })];
  return [head ?? new Uint8Array(0), ...blocks, stored, new Uint8Array((512 - stored.length % 512) % 512)];
}
