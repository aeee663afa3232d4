/** Loop devices: Linux, Documentation/admin-guide/blockdev and include/uapi/linux/loop.h. */
import { type ByteString, byteString, writeBytes } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { type DeviceNode, openNode } from "./device-node.ts";
import { hasErrno, type Kernel, O_RDONLY, S_IFBLK, S_IFCHR } from "./kernel.ts";

const LOOP_SET_FD = 0x4c00, LOOP_CLR_FD = 0x4c01, LOOP_SET_STATUS64 = 0x4c04, LOOP_GET_STATUS64 = 0x4c05;
const LOOP_CONFIGURE = 0x4c0a, LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_READ_ONLY = 1, LO_FLAGS_AUTOCLEAR = 4, LO_FLAGS_DIRECT_IO = 16;
/** Of `struct loop_config`; in it, `struct loop_info64` begins at 8. */
const CONFIG_SIZE = 304, INFO_AT = 8, INFO_SIZE = 232;
const INFO_FLAGS = 52, INFO_FILE_NAME = 56, NAME_SIZE = 64;
export const LOOP_MAJOR = 7;
const CONTROL_MAJOR = 10, CONTROL_MINOR = 237;
/** Somebody else may take the free device between the question and the answer: ask again so often. */
const TRIES = 32;

/** The block device, opened. It frees itself when this and the last mount of it are gone, whatever ends the process. */
export interface LoopDevice extends DeviceNode {
  number: number;
}

export interface LoopOptions {
  readOnly: boolean;
  /** Past the page cache of the file below, where kernel (5.8) and filesystem can: nothing is copied and kept twice. */
  direct?: boolean;
  /** Shown by `losetup` as the file's name. At most 63 bytes; `cos-…` where this program reads it for a while, and nothing runs from it. */
  name: ByteString;
}

/** @param file stays the caller's. Throws `SystemCallError`, `SYSTEM_CALL`. */
export function attachLoop(kernel: Kernel, pid: number, file: number, options: LoopOptions): LoopDevice {
  const control = loopNode(kernel, pid, "loop-control", S_IFCHR, CONTROL_MAJOR, CONTROL_MINOR);
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      const number = kernel.ioctl(control.fd, LOOP_CTL_GET_FREE, 0);
      const node = loopNode(kernel, pid, `loop${number}`, S_IFBLK, LOOP_MAJOR, number);
      try {
        configure(kernel, node.fd, file, options);
      } catch (thrown) {
        node[Symbol.dispose]();
        if (hasErrno(thrown, "EBUSY")) continue;
        throw thrown;
      }
      return { ...node, number };
    }
  } finally {
    control[Symbol.dispose]();
  }
  throw new CosError("SYSTEM_CALL", "Cannot get a loop device: others take each one first.", {
    hint: "Look at losetup -a, stop what uses them up, and run it again.",
  });
}

function configure(kernel: Kernel, device: number, file: number, { readOnly, direct, name }: LoopOptions): void {
  const config = new Uint8Array(CONFIG_SIZE), view = new DataView(config.buffer);
  const flags = LO_FLAGS_AUTOCLEAR | (readOnly ? LO_FLAGS_READ_ONLY : 0) | (direct ? LO_FLAGS_DIRECT_IO : 0);
  view.setUint32(0, file, true);
  view.setUint32(INFO_AT + INFO_FLAGS, flags, true);
  writeBytes(name.slice(0, 63), config, INFO_AT + INFO_FILE_NAME);
  try {
    kernel.ioctl(device, LOOP_CONFIGURE, config);
  } catch (thrown) {
    // Before Linux 5.8 there is no such call: two take its place, and an error between them must not leave the device taken.
    if (!hasErrno(thrown, "EINVAL", "ENOTTY")) throw thrown;
    kernel.ioctl(device, LOOP_SET_FD, file);
    try {
      view.setUint32(INFO_AT + INFO_FLAGS, flags, true);
      kernel.ioctl(device, LOOP_SET_STATUS64, config.subarray(INFO_AT, INFO_AT + INFO_SIZE));
    } catch (second) {
      kernel.ioctl(device, LOOP_CLR_FD, 0);
      throw second;
    }
  }
}

export interface LoopBacking {
  devMajor: number;
  devMinor: number;
  ino: number;
  /** As `losetup` shows it: what attached it calls it so. */
  name: ByteString;
}

/** The file that a loop device reads, by device and inode: global, whatever it is named by now. Undefined for a free device. */
export function loopBacking(kernel: Kernel, pid: number, number: number): LoopBacking | undefined {
  const node = loopNode(kernel, pid, `loop${number}`, S_IFBLK, LOOP_MAJOR, number, O_RDONLY);
  try {
    const info = new Uint8Array(INFO_SIZE), view = new DataView(info.buffer);
    kernel.ioctl(node.fd, LOOP_GET_STATUS64, info);
    // huge_encode_dev(): 8 low bits of the minor, 12 of the major, then the minor's other 12.
    const device = view.getUint32(0, true);
    return {
      devMajor: device >>> 8 & 0xfff,
      devMinor: (device & 0xff) | (device >>> 12 & 0xfff00),
      ino: Number(view.getBigUint64(8, true)),
      name: byteString(info, INFO_FILE_NAME, INFO_FILE_NAME + NAME_SIZE).replace(/\0[^]*$/, ""),
    };
  } catch (thrown) {
    // Free, or on a file of FUSE or NFS whose server is gone: somebody else's, and no image on a state partition.
    if (hasErrno(thrown, "ENXIO", "ENOTCONN", "ESTALE")) return undefined;
    throw thrown;
  } finally {
    node[Symbol.dispose]();
  }
}

function loopNode(...node: Parameters<typeof openNode>): DeviceNode {
  try {
    return openNode(...node);
  } catch (thrown) {
    if (!hasErrno(thrown, "ENOENT", "ENXIO", "ENODEV", "EPERM", "EACCES")) throw thrown;
    throw new CosError("SYSTEM_CALL", `Cannot open /dev/${node[2]}: ${thrown.errno}.`, {
      hint: "Loop devices are needed: load the module loop, or in a container run privileged.",
      cause: thrown,
    });
  }
}
