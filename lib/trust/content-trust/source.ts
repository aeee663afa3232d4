/** Which server a requirement asks, and how what it serves is read: the program fetches, and this folder says what it is worth. */
import type { KnownTrust } from "../../formats/known-trust.ts";
import type { Refusal } from "../verdict.ts";
import type { Pin } from "./pin.ts";
import type { MetadataFile } from "./roots.ts";
import { type ProvenTrust, walk } from "./walk.ts";

export type FoundTrust = ProvenTrust | Refusal;

export interface ContentTrustSource {
  /** `https://trust.example.org`; absent: the one that belongs to the registry. */
  server?: string | undefined;
  /** Proves all that is signed for a repository. Throws what fetching throws. */
  read(gun: string, known: KnownTrust | undefined, now: Date, file: MetadataFile): Promise<FoundTrust>;
}

export function contentTrustSource(server: string | undefined, pin: Pin, maxRoots: number): ContentTrustSource {
  return { server, read: (gun, known, now, file) => walk({ gun, pin, maxRoots, known, now, file }) };
}
