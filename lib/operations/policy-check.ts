/** `cos policy check`: what a policy says, in words, and what of it is most likely not meant. */
import { CosError } from "../base/errors.ts";
import { CONTAINERS_POLICY, type Policy } from "../config/policy.ts";
import type { Requirement } from "../trust/mod.ts";

export interface ScopeInWords {
  name: string;
  /** Each completes "The image must be …". All must hold. */
  requirements: { type: string; words: string }[];
  /** What is most likely not meant. */
  doubts: string[];
}

export interface PolicyInWords {
  origin: string;
  scopes: ScopeInWords[];
}

/** Throws `CONFIGURATION`, also for a key that cannot be read. */
export async function checkPolicy(policy: Policy): Promise<PolicyInWords> {
  const scopes: ScopeInWords[] = [];
  for (const scope of policy.file.scopes) {
    const requirements = await policy.prepare(scope);
    scopes.push({
      name: scope.name,
      requirements: requirements.map(({ type, words }) => ({ type, words })),
      doubts: doubtsOf(scope.name, requirements, policy),
    });
  }
  return { origin: policy.origin, scopes };
}

export function noPolicy(): CosError {
  return new CosError(
    "CONFIGURATION",
    "There is no policy: neither /etc/cos/policy.json nor /etc/containers/policy.json exists.",
    {
      hint: "Images are refused unless --no-verify or --key FILE is said. How to write one: docs/policy.md",
    },
  );
}

function doubtsOf(name: string, requirements: readonly Requirement[], { own, origin }: Policy): string[] {
  const doubts: string[] = [], types = new Set(requirements.map(({ type }) => type));
  if (types.has("insecureAcceptAnything")) {
    doubts.push(
      !own && name === "default"
        ? `This default is said of containers: for the system it waives nothing, and images are refused.`
        : "Nothing is verified here; status shows it of each image for ever.",
    );
    if (requirements.length > 1) {
      doubts.push("Beside others, insecureAcceptAnything asks for nothing more and takes nothing away.");
    }
  }
  if (types.has("signedBy")) {
    doubts.push("OpenPGP signatures (signedBy) are not read by cos: everything here is refused.");
  }
  if (requirements.every(({ proves }) => !proves)) {
    doubts.push("Nothing here asks who made the image: everything is refused. Add a requirement for a signature.");
  }
  if (name.startsWith("docker ") && /[A-Z]/.test(name.slice(7).split(":")[0] ?? "")) {
    doubts.push("Names of repositories have no capital letters: this scope matches nothing.");
  }
  if (origin === CONTAINERS_POLICY && types.has("sigstoreSigned")) {
    doubts.push("Attached signatures are read only where registries.d says use-sigstore-attachments: true.");
  }
  for (const { doubt } of requirements) if (doubt !== undefined) doubts.push(doubt);
  return doubts;
}
