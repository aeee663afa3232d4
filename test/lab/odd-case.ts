/** An odd thing that layers hold, and what programs make of it. */
import type { TarItem } from "./tar-writer.ts";

export type Peer = "model" | "umoci" | "podman" | "tar" | "tarfile";

export interface OddCase {
  name: string;
  /** The layers, lowest first; `at` gives the path inside of the case's directory. */
  layers: (at: (path: string) => string) => TarItem[][];
  /** What a peer does instead. */
  without?: Partial<Record<Peer, string>>;
}
