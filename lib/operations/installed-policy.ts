/** The policy of a machine that runs neither slot, and has none of its own. */
import { findPolicy, type Policy } from "../config/policy.ts";
import type { System } from "../system/system.ts";
import { mountInstalled } from "./installed-root.ts";
import type { View } from "./session.ts";

/**
 * @param own the policy here, or the key that was named. @param until keeps the image mounted: keys are read when they are asked for.
 * @param warn is told of an image that cannot be looked into.
 */
export function policyInForce(
  system: System,
  view: View,
  own: () => Promise<Policy | undefined>,
  until: DisposableStack,
  warn: (text: string) => void,
): () => Promise<Policy | undefined> {
  return async () => {
    const here = await own();
    if (!await saysNothing(here)) return here;
    const image = mountInstalled(system, view, warn);
    if (image === undefined) return here;
    const { fd } = until.use(image);
    return await findPolicy({ root: `/proc/${system.pid}/fd/${fd}`, of: "of the active system" }) ?? here;
  };
}

/** Distributions ship for containers a policy that accepts anything: with that alone, nobody has said anything of the system. */
export async function saysNothing(policy: Policy | undefined): Promise<boolean> {
  if (policy === undefined) return true;
  const { own, file: { scopes } } = policy;
  if (own || scopes.some(({ name }) => !UNSAID.test(name))) return false;
  const requirements = await Promise.all(scopes.map((scope) => policy.prepare(scope)));
  return requirements.flat().every(({ type }) => type === "insecureAcceptAnything");
}

/** The default, and what containers ships beside it for a docker daemon's images. */
const UNSAID = /^(?:default|docker-daemon)$/;
