/** Who runs this: what the environment says of the person behind it. */
import type { Environment } from "./environment.ts";

/** The name that waivers are recorded under: the user behind sudo, else the user, else the number. */
export function operatorName(env: Environment, uid: number): string {
  for (const name of ["SUDO_USER", "LOGNAME", "USER"]) {
    const value = env(name);
    // From the environment into a record and onto terminals: nothing but what a user's name may be made of.
    if (value !== undefined && /^[A-Za-z0-9._@-]{1,64}$/.test(value)) return value;
  }
  return uid === 0 ? "root" : `user ${uid}`;
}
