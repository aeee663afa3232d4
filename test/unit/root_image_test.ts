import assert from "node:assert/strict";
import { parseKernelArguments } from "../../lib/formats/kernel-arguments.ts";
import { entryLabels, rootCandidates, type RootImage, rootRequest } from "../../lib/machine/root-image.ts";

Deno.test("the kernel's command line: quotes, words without a value, the last of several", () => {
  const line = 'a=1 b="x y" "c=p q" d a=2 e=f=g quiet  h="open end\n';
  assert.deepEqual([...parseKernelArguments(line)], [
    ["a", "2"],
    ["b", "x y"],
    ["c", "p q"],
    ["d", ""],
    ["e", "f=g"],
    ["quiet", ""],
    ["h", "open end\n"],
  ]);
  assert.deepEqual([...parseKernelArguments("")], []);
});

Deno.test("rootRequest() reads what GRUB has passed on, and nothing that leads out of a directory of images", () => {
  const line =
    "root=LABEL=COS_STATE cos-img/filename=/cOS/active.img cos.image_uuid=AB-12 cos.tries_left=2 cos.watchdog=90";
  assert.deepEqual(rootRequest(line), {
    uuid: "ab-12",
    file: "/cOS/active.img",
    label: "COS_STATE",
    counted: true,
    watchdog: 90,
  });
  assert.deepEqual(rootRequest("cos-img/filename=/cOS/recovery.img cos.image_uuid= cos.watchdog=-1"), {
    uuid: undefined,
    file: "/cOS/recovery.img",
    label: undefined,
    counted: false,
    watchdog: undefined,
  });
  for (const odd of ["", "root=/dev/sda1", "cos-img/filename=", "cos-img/filename=/a", "cos-img/filename=/../x/y"]) {
    assert.equal(rootRequest(odd), undefined, odd);
  }
});

const [A, B, C] = ["a", "b", "c"];
const image = (name: string, ino: number, uuid?: string): RootImage => ({ file: `/cOS/${name}.img`, ino, uuid });

/** Names in their order, with why. */
function order(words: string, images: RootImage[]): string {
  const request = rootRequest(words);
  assert.ok(request);
  return rootCandidates(request, images).map(({ file, why }) => `${file.slice(5, -4)} ${why}`).join(", ");
}

Deno.test("rootCandidates(): the kernel's image, the entry's, the other slot's, each once", () => {
  const both = [image("active", 1, A), image("passive", 2, B), image("transition", 3, C)];
  const active = "cos-img/filename=/cOS/active.img", passive = "cos-img/filename=/cOS/passive.img";
  assert.equal(order(active, both), "active entry, passive other");
  assert.equal(order(passive, both), "passive entry, active other");
  assert.equal(order(`${active} cos.image_uuid=a`, both), "active kernel, passive other");
  assert.equal(order(`${active} cos.image_uuid=b`, both), "passive kernel, active entry");
  assert.equal(order(`${active} cos.image_uuid=c`, both), "transition kernel, active entry, passive other");
  assert.equal(order(`${active} cos.image_uuid=d`, both), "active entry, passive other");
  // Copies of older tools share a UUID: the entry's own comes first. Two names of one image are one.
  assert.equal(
    order(`${active} cos.image_uuid=a`, [image("passive", 2, A), image("active", 1, A)]),
    "active kernel, passive other",
  );
  assert.equal(order(active, [image("active", 1, A), image("passive", 1, A)]), "active entry");
  // What is being made is never taken for a system.
  assert.equal(order(active, [image("transition", 3, C)]), "");
  assert.equal(
    order("cos-img/filename=/cOS/recovery.img", [image("recovery", 4), image("active", 1)]),
    "recovery entry",
  );
});

Deno.test("entryLabels(): what the entry has matched inside the image", () => {
  const labels = (words: string, inside?: string) => entryLabels(rootRequest(words) ?? assert.fail(), inside);
  const active = "cos-img/filename=/cOS/active.img", passive = "cos-img/filename=/cOS/passive.img";
  const usual = { active: "COS_ACTIVE", passive: "COS_PASSIVE" };
  assert.deepEqual(labels(`${active} root=LABEL=COS_ACTIVE`, "OUR_ACTIVE"), usual);
  assert.deepEqual(labels(`${passive} root=LABEL=COS_PASSIVE`), usual);
  assert.deepEqual(labels(`${passive} root=LABEL=OUR_PASSIVE`, "OUR_PASSIVE"), { passive: "OUR_PASSIVE" });
  const recovery = "cos-img/filename=/cOS/recovery.img root=LABEL=COS_SYSTEM";
  for (const words of [active, `${active} root=/dev/sda3`, `${active} root=LABEL=OUR_STATE`, recovery]) {
    assert.deepEqual(labels(words, "COS_ACTIVE"), {}, words);
    assert.deepEqual(labels(words), {}, words);
  }
});
