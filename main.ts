/** `cos`: starts the command that its first word asks for; nothing else. */
import { buildInfo } from "./lib/base/build-info.ts";

const { version, commit, denoVersion } = buildInfo();
console.log(`cos ${version} (commit ${commit}, Deno ${denoVersion})`);
