/** The demo as a new user runs it, and the README's transcript of it. */
import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);

/** What differs from run to run and from machine to machine. */
function normal(text: string): string {
  return text
    .replace(/127\.0\.0\.1:\d+/g, "REGISTRY")
    .replace(/\/dev\/loop\d+/g, "LOOP")
    .replace(/sha256:[0-9a-f]+/g, "DIGEST")
    .replace(/\b[0-9a-f]{12}\b/g, "SHORT-DIGEST")
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d UTC/g, "DATE")
    .replace(/[0-9.]+ (?:bytes|[KMG]iB)/g, "SIZE")
    .replace(/6\.1\.0-\d+-cloud-amd64/g, "KERNEL")
    .replace(/by \S+, DATE/g, "by USER, DATE")
    .replace(/--no-verify by \S+$/gm, "--no-verify by USER")
    .replace(/\/tmp\/cos-demo-\w+/g, "SCRATCH")
    .replace(/in [0-9.]+ s\.$/gm, "in TIME.");
}

Deno.test("the demo passes, cleans up, and prints what the README shows", async () => {
  // One pipe for both streams, so that the lines are in the order in which a person sees them.
  const child = new Deno.Command("sh", { args: ["-c", "exec ./scripts/demo 2>&1"], cwd: ROOT, stdin: "null" });
  const { code, stdout } = await child.output();
  const printed = new TextDecoder().decode(stdout);
  assert.equal(code, 0, printed);
  assert.match(printed, /^The demo has passed: .* in [0-9.]+ s\.$/m);

  const readme = await Deno.readTextFile(new URL("README.md", ROOT));
  const transcript = /```console\n([^]*?)```/.exec(readme)?.[1];
  assert.ok(transcript !== undefined && transcript.length > 1000, "the README has no transcript");
  const seen = normal(printed).split("\n");
  let at = 0;
  for (const line of normal(transcript).split("\n").filter((l) => l !== "")) {
    const found = seen.indexOf(line, at);
    assert.ok(found >= 0, `the README shows a line that the demo does not print (there): ${line}`);
    at = found + 1;
  }
});

Deno.test("the demo cleans up when it is stopped", async () => {
  const devices = async () =>
    new TextDecoder().decode((await new Deno.Command("losetup", { args: ["-a"] }).output()).stdout);
  const before = await devices();
  const child = new Deno.Command("sh", {
    args: ["-c", "exec ./scripts/demo 2>&1"],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
  })
    .spawn();
  // Stopped as soon as it works on the disk that it made.
  let printed = "";
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    const before = printed;
    printed += chunk;
    if (!before.includes("$ cos upgrade") && printed.includes("$ cos upgrade")) child.kill("SIGINT");
  }
  const { code, signal } = await child.status;
  assert.ok(code === 130 || signal === "SIGINT", `ended with ${code} ${signal}: ${printed}`);
  assert.equal(await devices(), before);
});
