/** CRC-32C (Castagnoli), as ext4 uses it (RFC 3720, appendix B.4: the reflected polynomial 0x82f63b78). */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest >>> 1 ^ ((rest & 1) === 0 ? 0 : 0x82f63b78);
  return rest;
});

/** @param seed the register at the start. Returns the register at the end: nothing is inverted here. */
export function crc32c(seed: number, bytes: Uint8Array): number {
  let register = seed;
  for (const byte of bytes) register = register >>> 8 ^ (TABLE[(register ^ byte) & 0xff] ?? 0);
  return register >>> 0;
}
