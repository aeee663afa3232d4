/**
 * What the layer at hand has put into the tree, so that its whiteouts, which may stand before or behind, hide only what came
 * from the layers below (image-spec 1.1, layer.md). One bit an inode: the memory depends on the filesystem's size, never
 * on how many entries a layer claims to have.
 */
import type { ByteString } from "../base/byte-string.ts";
import { broken } from "./errors.ts";

/** Bytes of names of hardlinks to lower layers; layers have some hundred such links. */
const MAX_LINK_NAMES = 64 * 1024 * 1024;

export class LayerMarks {
  #bits = new Uint8Array(4096);
  /**
   * A hardlink of this layer to a file of a lower one is a new name of an old inode: there only the name is this layer's.
   */
  #links = new Set<string>();
  #linkNames = 0;
  /** Nothing lies below the first layer, so nothing has to be told apart. */
  #needed = false;

  startLayer(index: number): void {
    this.#needed = index > 0;
    this.#bits.fill(0);
    this.#links.clear();
    this.#linkNames = 0;
  }

  get needed(): boolean {
    return this.#needed;
  }

  add(ino: number): void {
    if (!this.#needed) return;
    const byte = ino >>> 3;
    if (byte >= this.#bits.length) {
      const larger = new Uint8Array(Math.max(byte + 1, this.#bits.length * 2));
      larger.set(this.#bits);
      this.#bits = larger;
    }
    this.#bits[byte] = (this.#bits[byte] ?? 0) | 1 << (ino & 7);
  }

  /** A hardlink was made in the directory `parent` to the inode `ino`. Throws `BROKEN_LAYER` for more than memory should hold. */
  addLink(parent: number, name: ByteString, ino: number): void {
    if (!this.#needed || this.#has(ino)) return;
    const known = this.#links.size;
    this.#links.add(`${parent}/${name}`);
    if (this.#links.size > known) this.#linkNames += name.length + 16;
    if (this.#linkNames > MAX_LINK_NAMES) throw broken("it has too many hardlinks to files of the layers below");
  }

  /** Whether the name in the directory `parent`, which is of the inode `ino`, came with this layer. */
  isOwn(parent: number, name: ByteString, ino: number): boolean {
    return this.#has(ino) || this.#links.has(`${parent}/${name}`);
  }

  #has(ino: number): boolean {
    return ((this.#bits[ino >>> 3] ?? 0) & 1 << (ino & 7)) !== 0;
  }
}
