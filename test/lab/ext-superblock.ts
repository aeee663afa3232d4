/** Whether an ext4 superblock is whole: one that is written by half is mounted by no Linux, and mended by e2fsck. */

const AT = 1024, SUM_AT = 1020;

/** It carries a checksum (`metadata_csum`), which does not fit. */
export function hasTornSuperblock(disk: Uint8Array): boolean {
  const bytes = disk.subarray(AT, AT + 1024), view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isExt = view.getUint16(56, true) === 0xef53, summed = (view.getUint32(100, true) & 0x400) !== 0;
  return isExt && summed && crc32c(bytes.subarray(0, SUM_AT)) !== view.getUint32(SUM_AT, true);
}

/** As ext4 takes it: Castagnoli's polynomial, begun with all bits set and not inverted at the end. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : crc >>> 1 ^ 0x82f63b78;
  }
  return crc >>> 0;
}
