/** What `cos verify --slot` says to people. Pure. */
import type { VerifiedSlot } from "../operations/verify-slot.ts";
import { proofText } from "./status.ts";

export function renderVerifiedSlot(found: VerifiedSlot): string {
  const { slot, image, digest, verification, entries, differences, count } = found;
  const lines = [
    `The ${slot} system and ${image}${digest === undefined ? "" : ` (${digest})`}`,
    `  proof    ${
      verification === undefined ? "NOT VERIFIED: nobody vouches for that image" : proofText(verification)
    }`,
  ];
  if (count === 0) lines.push(`They are the same: ${entries} entries, with their contents and attributes.`);
  else {
    lines.push(`They differ in ${count === 1 ? "1 place" : `${count} places`}, of ${entries} entries:`);
    for (const { path, how } of differences) lines.push(`  ${path} ${how}`);
    if (count > differences.length) lines.push(`  and ${count - differences.length} more`);
  }
  return `${lines.join("\n")}\n`;
}
