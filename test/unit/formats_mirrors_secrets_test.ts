/** Configurations of mirrors hold logins: what is wrong with them is told without, in the causes that `--debug` prints too. */
import assert from "node:assert/strict";
import { CosError } from "../../lib/base/errors.ts";
import { parseHostsToml } from "../../lib/formats/hosts-toml.ts";
import { parseK3sRegistries } from "../../lib/formats/k3s-registries.ts";
import { parseRegistriesD } from "../../lib/formats/registries-d.ts";

const yaml = (text: string) => () => parseK3sRegistries(text, "/f");
const password = (text: string) => yaml(`configs:\n  h:\n    auth:\n      password: ${text}\n`);
const toml = (text: string) => () => parseHostsToml(text, "/f");
const signatures = (text: string) => () => parseRegistriesD([{ path: "/f", text }]);
const header = (text: string) => toml(`[host."https://m".header]\nAuthorization = ${text}\n`);

Deno.test("no login of a broken configuration is repeated", () => {
  const cases: [() => unknown, string][] = [
    [password("*5ecret"), ", line 4: unidentified alias"],
    [password("!5ecret x"), ", line 4: unknown scalar tag"],
    [password('"5ecret'), ", line 5: deficient indentation"],
    [password("5ecret: x"), ", line 4: bad indentation of a mapping entry"],
    [signatures("docker:\n  h: *5ecret\n"), ", line 2: unidentified alias"],
    [header('"5ecret'), ", line 2: control characters are not allowed in strings"],
    [header("5ecret"), ", line 2: illegal character in numeric literal"],
    [toml('server = "https://u:5ecret@ h"'), ': "https:// h" is no URL of a host'],
    [yaml('mirrors:\n  h:\n    endpoint: ["u:5ecret@ h/x"]\n'), ': " h/x" is no URL of a host'],
  ];
  for (const [parse, why] of cases) {
    assert.throws(parse, (thrown) => {
      assert.ok(thrown instanceof CosError);
      assert.equal(thrown.message, `Cannot use /f${why}.`);
      for (let cause: unknown = thrown; cause instanceof Error; cause = cause.cause) {
        assert.doesNotMatch(cause.stack ?? "", /5ecret/);
      }
      return true;
    });
  }
});
