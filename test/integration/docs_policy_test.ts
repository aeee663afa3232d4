/** Each policy in docs/policy.md is one, and asks what the page says it asks. */
import assert from "node:assert/strict";
import { etcRoom } from "../lab/etc-room.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { makeInstance, trustedRoot } from "../lab/signing/instance.ts";
import { makeKey } from "../lab/signing/keys.ts";
import { SITE } from "../lab/signing/notary-case.ts";

const PAGE = Deno.readTextFileSync(new URL("../../docs/policy.md", import.meta.url));

/** Headings with the example below them. */
function examples(): [title: string, policy: string][] {
  return PAGE.split(/^## /m).slice(1).flatMap((section) => {
    const title = section.split("\n", 1)[0] ?? "";
    return [...section.matchAll(/```json\n([^]*?)```/g)].map(([, text = ""]): [string, string] => [title, text]);
  });
}

Deno.test("every policy in docs/policy.md is read, and says in words what it asks", async () => {
  await using scratch = scratchDirectory("docs");
  await using room = await etcRoom({ directory: scratch.path });
  room.write("cos/release.pub", (await makeKey("p256")).pem);
  room.write("cos/trusted_root.json", JSON.stringify(await trustedRoot(await makeInstance())));
  room.write("cos/signing-root.pem", SITE.root.pem);
  const seen: Record<string, string[]> = {};
  for (const [title, policy] of examples()) {
    room.write("cos/policy.json", policy);
    const { status, out } = await room.cos("policy", "check");
    assert.equal(status, 0, `${title}: ${out}`);
    const asked = out.split("\n").filter((line) => line.startsWith("    ")).map((line) => line.trim());
    seen[title] = asked.map((line) => line.replace(/sha256:[0-9a-f]{64}/g, "KEY"));
  }
  const none = "The image must be another one: all are refused.";
  const attached = "signed with cosign or skopeo by the key KEY",
    bundled = "signed in a Sigstore bundle by the key KEY";
  assert.deepEqual(seen, {
    "One key, one repository": [`The image must be ${attached}.`, none],
    "Bundles of cosign 3, or either form": [
      `The image must be ${bundled}, or ${attached}.`,
      "The image must be labelled cos.product=os.",
      none,
    ],
    "Without a key: an identity": [
      "The image must be signed in a Sigstore bundle by https://git.example.org/os/.github/workflows/release.yml@refs/heads/main.",
      none,
    ],
    "Notary Project signatures": [
      "The image must be signed in the Notary Project's form by C=DE, ST=Bavaria, O=Example.",
      none,
    ],
    "Only what is new": [`The image must be ${bundled}.`, "The image must be signed or made less than 90d ago.", none],
    "Without a network: signatures that travel": [
      `The image must be ${bundled}.`,
      `The image must be ${bundled}.`,
      "The image must be whatever it likes: nothing is verified.",
      "Doubtful: Nothing is verified here; status shows it of each image for ever.",
      none,
    ],
  });
});
