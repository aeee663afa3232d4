import assert from "node:assert/strict";
import {
  emptyRecord,
  type InstallRecord,
  type OperationRecord,
  parseRecord,
  printRecord,
  withOperation,
} from "../../lib/formats/record.ts";

const DIGEST = `sha256:${"0".repeat(64)}`;
const IMAGE = {
  source: "r.example/os:v1",
  digest: DIGEST as InstallRecord["images"][string]["digest"],
  verification: { scheme: "skipped", word: "--no-verify", by: "root", at: "2026-01-01T00:00:00Z" },
  installedAt: "2026-01-01T00:00:00Z",
  boot: "new",
  armed: false,
} satisfies InstallRecord["images"][string];
const OPERATION: OperationRecord = { kind: "upgrade", at: "2026-01-01T00:00:00Z", outcome: "done" };
const RECORD: InstallRecord = { schemaVersion: 1, images: { "uuid-1": IMAGE }, operations: [OPERATION] };

function parse(value: unknown) {
  return parseRecord(new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value)));
}

Deno.test("a record that was printed is read as it was", () => {
  assert.deepEqual(parseRecord(printRecord(RECORD)), RECORD);
  assert.deepEqual(parseRecord(printRecord(emptyRecord())), { schemaVersion: 1, images: {}, operations: [] });
  assert.equal(
    new TextDecoder().decode(printRecord(emptyRecord())),
    '{\n  "schemaVersion": 1,\n  "images": {},\n  "operations": []\n}\n',
  );
});

Deno.test("fields that this version does not know are kept, at every level", () => {
  const richer = {
    ...RECORD,
    later: { a: [1] },
    images: { "uuid-1": { ...IMAGE, later: 1, verification: { ...IMAGE.verification, later: [2] } } },
    operations: [{ ...OPERATION, later: null }],
  };
  const parsed = parse(richer);
  assert.deepEqual(parsed, richer);
  assert.deepEqual(JSON.parse(new TextDecoder().decode(printRecord(parsed ?? emptyRecord()))), richer);
  const more = withOperation(parsed ?? emptyRecord(), OPERATION, new Set(["uuid-1"]));
  assert.deepEqual(more, { ...richer, operations: [...richer.operations, OPERATION] });
});

Deno.test("what hooks printed is kept of the last operation only", () => {
  const heard = { ...OPERATION, hookOutput: [{ stage: "s", name: "n", lines: ["a", "b"] }] };
  const once = withOperation(emptyRecord(), heard, new Set());
  assert.deepEqual(once.operations, [heard]);
  assert.deepEqual(withOperation(once, heard, new Set()).operations, [OPERATION, heard]);
});

Deno.test("a newer version is read as far as it is understood", () => {
  assert.deepEqual(parse({ ...RECORD, schemaVersion: 2, later: true }), { ...RECORD, schemaVersion: 2, later: true });
});

Deno.test("a damaged record is none", () => {
  const whole = new TextDecoder().decode(printRecord(RECORD));
  const damaged: unknown[] = [
    "",
    "\0".repeat(100),
    whole.slice(0, -10),
    "null",
    "[]",
    {},
    { ...RECORD, schemaVersion: "1" },
    { ...RECORD, images: [] },
    { ...RECORD, images: { x: null } },
    { ...RECORD, images: { x: { ...IMAGE, boot: "perhaps" } } },
    { ...RECORD, images: { x: { ...IMAGE, digest: "sha256:0" } } },
    { ...RECORD, operations: {} },
    { ...RECORD, operations: [{ kind: 1 }] },
  ];
  assert.deepEqual(damaged.map(parse), damaged.map(() => undefined));
  assert.equal(parseRecord(Uint8Array.of(0x7b, 0xff, 0x7d)), undefined);
});

Deno.test("withOperation() forgets images that are gone, keeps the last 50 operations and changes nothing it was given", () => {
  const operations = Array.from({ length: 50 }, (_, i): OperationRecord => ({ ...OPERATION, kind: `${i}` }));
  const record = { ...RECORD, images: { gone: IMAGE, "uuid-1": IMAGE }, operations };
  const before = structuredClone(record);
  const after = withOperation(record, { ...OPERATION, kind: "new" }, new Set(["uuid-1", "unknown"]));
  assert.deepEqual(Object.keys(after.images), ["uuid-1"]);
  assert.deepEqual(after.operations.map(({ kind }) => kind), [...operations.slice(1).map(({ kind }) => kind), "new"]);
  assert.deepEqual(record, before);
});
