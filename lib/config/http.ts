/** What the environment says of HTTP: proxies, and whom to trust. */
import { proxyRules } from "../formats/proxy.ts";
import type { HttpSettings } from "../system/http.ts";
import { type Environment, withoutVariables } from "./environment.ts";
import type { OtherRoot } from "./files.ts";
import { trustedRoots } from "./certificates.ts";

/** Those that the runtime reads itself. */
const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/** @param warn told of what is set and cannot be used. */
export function httpSettings(env: Environment, warn: (text: string) => void, elsewhere?: OtherRoot): HttpSettings {
  // As in Go: the upper-case name first, and what is empty is not set. `ALL_PROXY` is not known there, nor here.
  const either = (name: string) => env(name) || env(name.toLowerCase()) || "";
  return {
    proxy: proxyRules({
      httpProxy: either("HTTP_PROXY"),
      httpsProxy: either("HTTPS_PROXY"),
      noProxy: either("NO_PROXY"),
      cgi: (env("REQUEST_METHOD") ?? "") !== "",
    }),
    roots: () => trustedRoots(env, warn, undefined, elsewhere),
    withoutProxyVariables: (action) =>
      withoutVariables(PROXY_VARIABLES.flatMap((name) => [name, name.toLowerCase()]), action),
  };
}
