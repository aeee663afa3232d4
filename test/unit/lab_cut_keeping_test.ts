/** What the power-cut harness asks of systems that are kept and pinned: each rule has a state that breaks it. */
import assert from "node:assert/strict";
import { type Keeping, keptProblems, NOTHING_KEPT } from "../lab/cut-keeping.ts";
import { type LinuxFiles, wholeFile } from "../lab/disk-views.ts";

const IMAGES = ["v1", "v2"].map((name) => ({ name, digest: name, boot: name, tree: name, good: true }));
const DURING = { ended: false, last: false }, ENDED = { ended: true, last: false }, LAST = { ended: true, last: true };

/** @param linux by name in `cOS` the system that is there; the UUID of each is its name. */
function problems(linux: Record<string, string>, keeping: Partial<Keeping>, moment = DURING): string[] {
  const files: LinuxFiles = new Map(
    Object.entries(linux).map(([name, digest], ino) => {
      return [`${name}.img`, { ino, digest, uuid: digest, content: wholeFile(new Uint8Array()) }];
    }),
  );
  return keptProblems(files, IMAGES, { ...NOTHING_KEPT, ...keeping }, moment);
}

Deno.test("a system that stays has any name at every cut, one that is pinned its own", () => {
  const stays = ["v1", "v2"];
  for (const name of ["passive", "spare", "kept/kept-v1", "kept/pinned-v1"]) {
    assert.deepEqual(problems({ active: "v2", [name]: "v1" }, { stays }), [], name);
  }
  assert.deepEqual(problems({ active: "v2" }, { stays }), ["v1 is gone"]);
  const pinned = ["v1"];
  assert.deepEqual(problems({ active: "v2", "kept/pinned-v1": "v1" }, { pinned }), []);
  assert.deepEqual(problems({ active: "v2", "kept/kept-v1": "v1" }, { pinned }), ["nothing is called pinned v1"]);
});

Deno.test("what has such a name is whole, and called by its own UUID", () => {
  assert.deepEqual(problems({ active: "v2", "kept/kept-v1": "half" }, {}), ["a kept system is damaged"]);
  assert.deepEqual(problems({ active: "v2", "kept/pinned-v1": "v2" }, {}), ["v2 is pinned by the UUID of another"]);
});

Deno.test("a pin holds from the moment that it is said to be done; in the end there are the names that are promised", () => {
  const after = ["kept v1", "pinned v2"], none = { active: "v2", passive: "v1" };
  assert.deepEqual(problems(none, { after }), []);
  assert.deepEqual(problems(none, { after }, ENDED), ["nothing is called pinned v2"]);
  assert.deepEqual(problems({ ...none, "kept/kept-v1": "v1", "kept/pinned-v2": "v2" }, { after }, LAST), []);
  assert.deepEqual(problems(none, { after }, LAST), ["nothing is called kept v1", "nothing is called pinned v2"]);
  const more = { ...none, "kept/kept-v1": "v1" };
  assert.deepEqual(problems(more, {}, ENDED), []);
  assert.deepEqual(problems(more, {}, LAST), ["there is kept v1, though the operation has ended"]);
});
