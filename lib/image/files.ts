/** Every regular file of a mounted image, with the places of its content, as the filesystem's driver reads them from the disk. */
import type { ByteString } from "../base/byte-string.ts";
import { ExtentMap } from "../system/extents.ts";
import { DT_DIR, DT_REG, isRegular, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";

/** So many files are gathered before they are given on. */
const BATCH = 4096;

/** Some files. The pieces of file `i` are those from `first[i]` up to `first[i + 1]`. */
export interface Files {
  paths: ByteString[];
  inodes: Float64Array<ArrayBuffer>;
  sizes: Float64Array<ArrayBuffer>;
  /** 1 where the pieces are the whole content, in its order; 0 where the file must be read through the mount. */
  plain: Uint8Array<ArrayBuffer>;
  first: Uint32Array<ArrayBuffer>;
  /** Of each piece, in bytes: where it lies in the image, and its length. */
  places: Float64Array<ArrayBuffer>;
  lengths: Float64Array<ArrayBuffer>;
}

/** @param root the top of the mounted image. A file with several names comes once. Throws `SystemCallError`. */
export function* imageFiles(kernel: Kernel, root: number): Generator<Files> {
  const map = new ExtentMap(kernel), seen = new Set<number>();
  let gathered = new Gathered();

  function* directory(dir: number, path: ByteString): Generator<Files> {
    for (const { name, type } of kernel.readDirectory(dir)) {
      if (type !== DT_DIR && type !== DT_REG) continue;
      const fd = kernel.openat(dir, name, O_RDONLY | O_NOFOLLOW | (type === DT_DIR ? O_DIRECTORY : 0));
      try {
        if (type === DT_DIR) yield* directory(fd, `${path}/${name}`);
        else file(fd, `${path}/${name}`);
      } finally {
        kernel.close(fd);
      }
      if (gathered.paths.length < BATCH) continue;
      yield gathered.done();
      gathered = new Gathered();
    }
  }

  function file(fd: number, path: ByteString): void {
    const status = kernel.fstat(fd), { ino, size, nlink } = status;
    if (!isRegular(status) || (nlink > 1 && seen.has(ino))) return;
    if (nlink > 1) seen.add(ino);
    const { places, lengths } = gathered, before = places.length;
    const plain = map.pieces(fd, size, (place, length) => {
      places.push(place);
      lengths.push(length);
    });
    if (!plain) places.length = lengths.length = before;
    gathered.add(path, ino, size, plain);
  }

  yield* directory(root, "");
  if (gathered.paths.length > 0) yield gathered.done();
}

class Gathered {
  readonly paths: ByteString[] = [];
  readonly places: number[] = [];
  readonly lengths: number[] = [];
  readonly #inodes = new Float64Array(BATCH);
  readonly #sizes = new Float64Array(BATCH);
  readonly #plain = new Uint8Array(BATCH);
  readonly #first = new Uint32Array(BATCH + 1);

  add(path: ByteString, inode: number, size: number, plain: boolean): void {
    const index = this.paths.push(path) - 1;
    this.#inodes[index] = inode;
    this.#sizes[index] = size;
    this.#plain[index] = plain ? 1 : 0;
    this.#first[index + 1] = this.places.length;
  }

  done(): Files {
    return {
      paths: this.paths,
      inodes: this.#inodes,
      sizes: this.#sizes,
      plain: this.#plain,
      first: this.#first,
      places: Float64Array.from(this.places),
      lengths: Float64Array.from(this.lengths),
    };
  }
}
