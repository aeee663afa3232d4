import assert from "node:assert/strict";
import { compareVersions } from "../../lib/formats/version.ts";
import { run } from "../lab/run.ts";

const sign = (number: number | undefined) => number === undefined ? undefined : Math.sign(number);

Deno.test("compareVersions(): the order that semver.org gives", () => {
  const order = [
    ...["0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"],
    ...["1.0.0-rc.1", "1.0.0", "v1.0.1", "1.2.0", "1.10.0", "2.0.0", "18446744073709551616.0.0"],
  ];
  for (const [i, a] of order.entries()) {
    for (const [j, b] of order.entries()) assert.equal(sign(compareVersions(a, b)), Math.sign(i - j), `${a} ${b}`);
  }
  assert.equal(compareVersions("1.0.0+a", "v1.0.0+b"), 0);
});

Deno.test("compareVersions(): other versions in Debian's order, as dpkg has it", async () => {
  const versions = [
    ...[
      "1",
      "1.0",
      "1.0~rc1",
      "1.0~~",
      "1.0~",
      "1.0a",
      "1.0+b1",
      "1.0-1",
      "1.0-1ubuntu2",
      "1.0-2",
      "1.00",
      "2026.11.25",
    ],
    ...["2026.11.3", "1:0.1", "10", "9", "1.0.0.0", "1.0-rc1-2", "20261125", "12.5", "0.0~git20260101"],
  ];
  for (const a of versions) {
    for (const b of versions) {
      if (a === b) continue;
      const older = await run("sh", ["-c", 'dpkg --compare-versions "$1" lt "$2" && echo yes || echo no', "sh", a, b]);
      assert.equal((compareVersions(a, b) ?? NaN) < 0, older.trim() === "yes", `${a} ${b}`);
    }
  }
});

Deno.test("compareVersions(): what has no order", () => {
  for (
    const [a, b] of [["latest", "1.0.0"], ["", "1"], ["1.0", "rolling"], ["1".repeat(200), "2"], [
      "1 0",
      "1.0",
    ]] as const
  ) {
    assert.equal(compareVersions(a, b), undefined, `${a} ${b}`);
  }
  assert.equal(compareVersions("rolling", "rolling"), 0);
});
