/** What docs/compatibility.md says of settings, names and tests is there. */
import assert from "node:assert/strict";
import { LEGACY_NAMES } from "../../cmd/legacy/names.ts";
import { keysOf } from "../../lib/config/settings-table.ts";
import { PLACES } from "../../lib/config/settings.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const text = Deno.readTextFileSync(`${ROOT}docs/compatibility.md`);

function testFile(name: string): string | undefined {
  for (const folder of ["unit", "integration"]) {
    try {
      return Deno.readTextFileSync(`${ROOT}test/${folder}/${name}.ts`);
    } catch (thrown) {
      if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
    }
  }
  return undefined;
}

Deno.test("every test that the page on compatibility names exists", () => {
  const named = [...text.matchAll(/\b([a-z_]+_test)(?: "([^"]+)")?/g)], missing: string[] = [];
  for (const [whole, file = "", name] of named) {
    const source = testFile(file);
    if (source === undefined || name !== undefined && !source.includes(name.replaceAll("…", ""))) missing.push(whole);
  }
  assert.deepEqual(missing, []);
  assert.ok(named.length > 20);
});

Deno.test("every setting's key, every file and every name is on the page", () => {
  const words = [
    ...keysOf("shell", "environment", "yaml"),
    ...LEGACY_NAMES,
    ...PLACES.filter((place) => place.startsWith("/")),
  ];
  assert.deepEqual(words.filter((word) => !text.includes(`\`${word}`)), []);
});
