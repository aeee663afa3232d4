/**
 * The policy of a machine that runs neither slot: a recovery system, a live CD or an initramfs may have none of their own, and then
 * the installed active system's counts. Never that of the image that is being installed.
 */
import { findPolicy, type Policy } from "../config/policy.ts";
import { type MountedImage, mountImage } from "../image/mount.ts";
import { messageOf } from "../base/errors.ts";
import { imagePath } from "../state/slots.ts";
import { O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import type { View } from "./session.ts";

/**
 * @param own the policy here, or the key that was named. @param until keeps the image mounted: keys are read when they are asked for.
 * @param warn is told of an image that cannot be looked into.
 */
export function policyInForce(
  system: System,
  { slots, state, partition }: View,
  own: () => Promise<Policy | undefined>,
  until: DisposableStack,
  warn: (text: string) => void,
): () => Promise<Policy | undefined> {
  return async () => {
    const here = await own();
    if (state.running !== undefined || slots.names.active === undefined || !await saysNothing(here)) return here;
    let image: MountedImage;
    const { kernel, pid } = system, fd = kernel.openat(partition.fd, imagePath("active"), O_RDONLY | O_NOFOLLOW);
    try {
      image = until.use(mountImage(kernel, pid, fd, { readOnly: true, name: "cos-policy" }));
    } catch (thrown) {
      warn(`The active system cannot be asked for its policy: ${messageOf(thrown)}`);
      return here;
    } finally {
      kernel.close(fd);
    }
    return await findPolicy({ root: `/proc/${pid}/fd/${image.fd}`, of: "of the active system" }) ?? here;
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
