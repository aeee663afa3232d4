/** Choosing one image of an index: OCI image-spec, image-index.md, "platform", and containerd's rules of variants. */
import { displayText } from "../base/byte-string.ts";
import type { Descriptor, Platform } from "./manifest.ts";

/** This machine's platform in Go's words, which images use. */
export function platformOf(arch: string): Platform {
  if (arch === "aarch64") return { os: "linux", architecture: "arm64", variant: "v8" };
  return { os: "linux", architecture: "amd64" };
}

/** The best fitting of an index's entries, or undefined. Attestations say `unknown/unknown` and never fit. */
export function choosePlatform(entries: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  let best: Descriptor | undefined, bestRank = 0;
  for (const entry of entries) {
    const rank = fit(entry.platform ?? {}, wanted);
    // The first of equals wins, as in containerd.
    if (rank > bestRank) [best, bestRank] = [entry, rank];
  }
  return best;
}

/** 0 does not fit; larger is better. An entry without a platform fits anything, but worst. */
export function fit(offered: Partial<Platform>, wanted: Platform): number {
  if (offered.os === undefined && offered.architecture === undefined) return 1;
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return 0;
  const variant = offered.variant ?? "";
  switch (wanted.architecture) {
    case "arm64":
      return variant === "" || variant === "v8" ? 3 : 0;
    case "amd64":
      // v2 and later need instructions that nobody has asked the processor for: only the baseline is safe to choose.
      return variant === "" || variant === "v1" ? 3 : 0;
    default:
      return variant === (wanted.variant ?? "") ? 3 : 0;
  }
}

/** For messages: the words come out of an index or a configuration that strangers wrote. */
export function formatPlatform({ os, architecture, variant }: Partial<Platform>): string {
  return [os ?? "?", architecture ?? "?", ...(variant === undefined ? [] : [variant])]
    .map((word) => displayText(word, 32)).join("/");
}
