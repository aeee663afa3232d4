/** Choosing one image of an index: OCI image-spec, image-index.md, "platform", and containerd's rules of variants. */
import { displayText } from "../base/byte-string.ts";
import type { Descriptor, Platform } from "./manifest.ts";

export interface MachinePlatform extends Platform {
  /** The x86-64 level of the processor, 1 to 4. Asked only where an image wants more than the first; absent: the first. */
  level?: () => number;
}

/** This machine's platform in Go's words, which images use. */
export function platformOf(arch: string, level?: () => number): MachinePlatform {
  if (arch === "aarch64") return { os: "linux", architecture: "arm64", variant: "v8" };
  return { os: "linux", architecture: "amd64", ...(level !== undefined && { level }) };
}

/** The best fitting of an index's entries, or undefined. Attestations say `unknown/unknown` and never fit, nor do artifacts. */
export function choosePlatform(entries: readonly Descriptor[], wanted: MachinePlatform): Descriptor | undefined {
  let best: Descriptor | undefined, bestRank = 0;
  for (const entry of entries) {
    const rank = entry.artifactType === undefined ? fit(entry.platform ?? {}, wanted) : 0;
    // The first of equals wins, as in containerd.
    if (rank > bestRank) [best, bestRank] = [entry, rank];
  }
  return best;
}

/** 0 does not fit; larger is better. An entry without a platform fits anything, but worst. */
export function fit(offered: Partial<Platform>, wanted: MachinePlatform): number {
  if (offered.os === undefined && offered.architecture === undefined) return 1;
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return 0;
  const variant = offered.variant ?? "";
  switch (wanted.architecture) {
    case "arm64":
      return variant === "" || variant === "v8" ? 2 : 0;
    case "amd64": {
      const level = variant === "" ? 1 : number(variant);
      // What needs more than the processor has would die of its first such instruction.
      return level === 1 || (level > 1 && level <= (wanted.level?.() ?? 1)) ? 1 + level : 0;
    }
    case "arm": {
      // Each processor runs what was made for earlier ones; without a variant v7 is meant, as in Go and containerd.
      const level = number(variant === "" ? "v7" : variant), own = number(wanted.variant ?? "v7");
      return level >= 5 && level <= own ? level : 0;
    }
    default:
      return variant === (wanted.variant ?? "") ? 2 : 0;
  }
}

/** The number of `v3`; 0 of anything else. */
function number(variant: string): number {
  return Number(/^v([1-9])$/.exec(variant)?.[1] ?? 0);
}

/** For messages: the words come out of an index or a configuration that strangers wrote. */
export function formatPlatform({ os, architecture, variant }: Partial<Platform>): string {
  return [os ?? "?", architecture ?? "?", ...(variant === undefined ? [] : [variant])]
    .map((word) => displayText(word, 32)).join("/");
}
