import assert from "node:assert/strict";
import { generatedPages } from "../../scripts/generate.ts";
import { ERROR_CODES } from "../../lib/base/errors.ts";

Deno.test("the generated pages of the manual are fresh (else: deno run -A scripts/generate.ts)", () => {
  for (const [path, text] of Object.entries(generatedPages())) {
    assert.equal(Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url)), text, path);
  }
});

Deno.test("no two errors have the same exit status, and all are statuses that a shell can tell", () => {
  const statuses = Object.values(ERROR_CODES).map(({ exit }) => exit);
  assert.equal(new Set(statuses).size, statuses.length);
  assert.ok(statuses.every((status) => status >= 2 && status <= 130 && (status < 126 || status === 130)));
});

Deno.test("every page that the manual links to exists", () => {
  const root = new URL("../../", import.meta.url);
  const pages = ["README.md", ...[...Deno.readDirSync(new URL("docs/", root))].map(({ name }) => `docs/${name}`)];
  for (const page of pages) {
    const text = Deno.readTextFileSync(new URL(page, root));
    for (const [, target = ""] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      assert.ok(Deno.statSync(new URL(target, new URL(page, root))).isFile, `${page} links to ${target}`);
    }
  }
});
