/** Settings of an operation from a command's flags. */
import { buildInfo } from "../lib/base/build-info.ts";
import { MIB } from "../lib/base/size.ts";
import type { Events } from "../lib/base/events.ts";
import { hostCertificates } from "../lib/config/certificates.ts";
import { environment, helperEnvironment } from "../lib/config/environment.ts";
import { credentialLookup } from "../lib/config/credentials.ts";
import { mirrorLookup } from "../lib/config/mirrors.ts";
import { operatorName } from "../lib/config/operator.ts";
import { parseReference } from "../lib/formats/reference.ts";
import type { Waiver } from "../lib/operations/record-keeping.ts";
import type { ImageSettings } from "../lib/operations/upgrade.ts";
import { helperRunner } from "../lib/system/credential-helper.ts";
import type { System } from "../lib/system/system.ts";
import type { ImageFlags } from "./flags.ts";

/** The older tools' DEFAULT_IMAGE_SIZE. */
const DEFAULT_SIZE = 3240;

export function imageSettings(image: string, flags: ImageFlags, system: System, events: Events): ImageSettings {
  const warn = (text: string) => events({ kind: "warning", text });
  return {
    image: parseReference(image),
    state: flags.state,
    size: (flags.size ?? DEFAULT_SIZE) * MIB,
    replaceDirectoryLinks: flags.replaceLinks === true,
    plainHttp: flags.plainHttp === true,
    userAgent: `cos/${buildInfo().version}`,
    credentials: credentialLookup(environment, {
      file: flags.authFile,
      runHelper: helperRunner(helperEnvironment),
      warn,
    }),
    hostTls: hostCertificates,
    mirrors: mirrorLookup({
      root: "",
      env: environment,
      plainHttp: flags.plainHttp === true,
      hostTls: hostCertificates,
      fetch: system.fetch,
      warn,
    }),
    events,
    strict: flags.strict === true,
    builtAt: buildInfo().builtAt,
    trustSeed: async (id, gun) => {
      const { trustSeed } = await import("../lib/config/trust-seed.ts");
      return await trustSeed("", id, gun);
    },
    policy: async () => {
      const { findPolicy } = await import("../lib/config/policy.ts");
      return await findPolicy({ root: "", key: namedKey(flags.key) });
    },
    waiver: flags.noVerify === true ? saidBy(system, "--no-verify") : undefined,
  };
}

/** By the flag, or by the variable of the older tools. */
function namedKey(flag: string | undefined) {
  if (flag !== undefined) return { path: flag, words: `--key ${flag}` };
  const path = environment("COSIGN_PUBLIC_KEY_LOCATION") ?? "";
  return path === "" ? undefined : { path, words: `COSIGN_PUBLIC_KEY_LOCATION=${path}` };
}

/** A word of the operator's, and who said it, for the record. */
export function saidBy({ kernel }: System, word: string): Waiver {
  return { word, by: operatorName(environment, kernel.getuid()) };
}
