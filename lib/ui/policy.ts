/** What `cos policy …` says to people. Pure. */
import type { PolicyInWords } from "../operations/policy-check.ts";
import type { Judgement } from "../operations/prove.ts";

export function renderPolicy({ origin, scopes }: PolicyInWords): string {
  const lines = [`Policy ${origin}: of all scopes that an image is in, the most specific one alone decides.`];
  for (const { name, requirements, doubts } of scopes) {
    lines.push("", `  ${name}`);
    for (const { words } of requirements) lines.push(`    The image must be ${words}.`);
    for (const doubt of doubts) lines.push(`    Doubtful: ${doubt}`);
  }
  return `${lines.join("\n")}\n`;
}

const OUTCOMES = {
  trusted: "It would be installed.",
  waived: "It would be installed without any proof, as the policy says; status shows that for ever.",
  refused: "It would be refused.",
} as const;

export function renderJudgement(image: string, { origin, scope, decision }: Judgement): string {
  const lines = [image, `  policy   ${origin}, scope "${scope}"`];
  for (const { requirement: { words }, refusal } of decision.asked) {
    lines.push(`  ${refusal === undefined ? "yes" : "NO "}      must be ${words}`);
    if (refusal !== undefined) lines.push(`           ${refusal.reason}`);
  }
  if (decision.kind === "trusted") {
    for (const { signer, time } of decision.proofs) {
      const who = "key" in signer
        ? `key ${signer.key}`
        : `${signer.identity.san}, vouched for by ${signer.identity.issuer}`;
      lines.push(`  signed   by ${who}${time === undefined ? "" : ` at ${time}`}`);
    }
  }
  return `${lines.join("\n")}\n${OUTCOMES[decision.kind]}\n`;
}
