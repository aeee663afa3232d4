/** Which word of the machine's settings counts, and where it stood. */
import assert from "node:assert/strict";
import { CosError } from "../../lib/base/errors.ts";
import { chooseImage } from "../../lib/config/image-choice.ts";
import { readSettings } from "../../lib/config/settings-files.ts";
import { effectiveSettings, type Place, PLACES, type SettingsSource } from "../../lib/config/settings.ts";
import { formatReference } from "../../lib/formats/reference.ts";
import { putFile, scratchDirectory } from "../lab/cleanup.ts";
import { run } from "../lab/run.ts";

const source = (place: Place, values: Record<string, string>): SettingsSource => ({
  place,
  origin: place,
  statements: Object.entries(values).map(([key, value]) => ({ key, value })),
});

/** A root directory with these files. */
function rootWith(files: Record<string, string>): { path: string } & AsyncDisposable {
  const scratch = scratchDirectory("settings");
  for (const [path, text] of Object.entries(files)) putFile(`${scratch.path}${path}`, text);
  return scratch;
}

async function effective(files: Record<string, string>, env: Record<string, string> = {}) {
  await using root = rootWith(files);
  return effectiveSettings(await readSettings({ root: root.path, env: (name) => env[name] }));
}

const refusal = async (work: () => unknown) => {
  try {
    await work();
  } catch (thrown) {
    if (thrown instanceof CosError) return `${thrown.code}: ${thrown.message}`;
    throw thrown;
  }
  return "nothing";
};

Deno.test("each place beats all that are weaker, for the keys of either generation", () => {
  const key: Record<Place, [string, string]> = {
    "state.yaml": ["", ""],
    "/etc/environment": ["UPGRADE_IMAGE", "r/0:0"],
    "/etc/os-release": ["UPGRADE_IMAGE", "r/1:1"],
    "/etc/cos/config": ["UPGRADE_IMAGE", "r/2:2"],
    "/etc/cos-upgrade-image": ["UPGRADE_IMAGE", "r/3:3"],
    "/etc/elemental/config.yaml": ["upgrade.system.uri", "docker:r/4:4"],
    "/etc/elemental/config.d": ["upgrade.system.uri", "docker:r/5:5"],
    "environment": ["UPGRADE_IMAGE", "r/6:6"],
    "flags": ["--docker-image", "r/7:7"],
  };
  const places = PLACES.filter((place) => place !== "flags" && place !== "state.yaml");
  const found = places.map((_, i) => {
    // Given in the wrong order on purpose.
    const sources = places.slice(0, i + 1).reverse().map((place) => source(place, { [key[place][0]]: key[place][1] }));
    const { value, origin } = effectiveSettings(sources).image;
    return `${value} ${origin}`;
  });
  assert.deepEqual(found, places.map((place) => `${key[place][1]} ${place}`));
  const { value, origin, words } = effectiveSettings([]).image;
  assert.deepEqual([value, origin, words], ["system/cos", "the default", ""]);
});

Deno.test("a command-line word beats the environment, and labels of state.yaml are the weakest", () => {
  const settings = effectiveSettings([
    source("flags", { "--strict": "true", "--no-cosign": "true" }),
    source("environment", { ELEMENTAL_STRICT: "false", VERIFY: "true", OEM_LABEL: "" }),
    source("state.yaml", { "oem.label": "MY_OEM", "state.label": "MY_STATE" }),
    source("/etc/cos/config", { STATE_LABEL: "COS_STATE" }),
  ]);
  const { strict, verify, oemLabel, stateLabel } = settings;
  assert.deepEqual([strict.value, strict.words], [true, "--strict"]);
  assert.deepEqual([verify.value, verify.words, verify.place], [false, "--no-cosign", "flags"]);
  // A variable that is set to nothing says nothing.
  assert.deepEqual([oemLabel.value, oemLabel.words], ["MY_OEM", "oem.label: MY_OEM"]);
  assert.deepEqual([stateLabel.value, stateLabel.origin], ["COS_STATE", "/etc/cos/config"]);
});

Deno.test("files as installations have them, with where each value stood", async () => {
  const settings = await effective({
    "/etc/os-release": 'ID=cos\nIMAGE="hijacked:v9"\nGRUB_ENTRY_NAME="Harvester v1"\n',
    "/etc/cos/config": '# settings\nexport VERIFY=false\nDEFAULT_IMAGE_SIZE=4000\nCHANNEL_UPGRADES="true"\n',
    "/etc/cos-upgrade-image": "UPGRADE_IMAGE=r.example/os:v1\n",
    "/etc/elemental/config.yaml":
      "reboot: true\nupgrade:\n  system:\n    uri: oci:r.example/os:v2\n    size: 5000\n  recovery: no\n",
    "/etc/elemental/config.d/10-a.yaml": "strict: true\n# nothing else\n",
    "/etc/elemental/config.d/20-b.yaml": "upgrade: {system: {size: 6000}}\n",
    "/etc/elemental/config.d/30-not.txt": "strict: [\n",
  }, { ELEMENTAL_POWEROFF: "0", INTERACTIVE: "false" });
  const told = Object.entries(settings).filter(([, { place }]) => place !== "default")
    .map(([name, { value, words, origin }]) => `${name} ${value} (${words} in ${origin})`);
  assert.deepEqual(told, [
    "image oci:r.example/os:v2 (upgrade.system.uri: oci:r.example/os:v2 in /etc/elemental/config.yaml)",
    "channel true (CHANNEL_UPGRADES=true in /etc/cos/config)",
    "verify false (VERIFY=false in /etc/cos/config)",
    "size 6000 (upgrade.system.size: 6000 in /etc/elemental/config.d/20-b.yaml)",
    "strict true (strict: true in /etc/elemental/config.d/10-a.yaml)",
    "reboot true (reboot: true in /etc/elemental/config.yaml)",
    "poweroff false (ELEMENTAL_POWEROFF=0 in the environment)",
    "recovery false (upgrade.recovery: no in /etc/elemental/config.yaml)",
    "interactive false (INTERACTIVE=false in the environment)",
    "grubEntryName Harvester v1 (GRUB_ENTRY_NAME=Harvester v1 in /etc/os-release)",
  ]);
  assert.equal(formatReference(chooseImage(settings, { recovery: false })), "r.example/os:v2");
});

Deno.test("places of cloud-config: a list or a text, as each generation has them", async () => {
  const found = async (text: string, env: Record<string, string> = {}) => {
    const { value, words } = (await effective({ "/etc/elemental/config.yaml": text }, env)).cloudInitPaths;
    return `${value} (${words})`;
  };
  const yaml = "cloud-init-paths: [/a, /b/c]\n";
  assert.equal(await found(yaml), "/a /b/c (cloud-init-paths: /a,/b/c)");
  assert.equal(await found("cloud-init-paths: /a\n"), "/a (cloud-init-paths: /a)");
  assert.equal(await found(yaml, { CLOUD_INIT_PATHS: " /d  /e " }), "/d /e (CLOUD_INIT_PATHS= /d  /e )");
  assert.equal(await found(yaml, { ELEMENTAL_CLOUD_INIT_PATHS: "/f" }), "/f (ELEMENTAL_CLOUD_INIT_PATHS=/f)");
  assert.equal(
    await refusal(() => found("cloud-init-paths: [{a: b}]\n")),
    'CONFIGURATION: Cannot use /etc/elemental/config.yaml: "cloud-init-paths" must be a text, or a list of them.',
  );
  assert.equal(
    await refusal(() => found("cloud-init-paths: [oem]\n")),
    'CONFIGURATION: Cannot use /etc/elemental/config.yaml: the value of cloud-init-paths is "oem", and must be absolute paths, separated by spaces or commas.',
  );
});

Deno.test("what cannot be used is refused with its place, unless something stronger stands above it", async () => {
  const config = (text: string) => ({ "/etc/cos/config": text });
  assert.equal(
    await refusal(() => effective(config("A=1\nUPGRADE_IMAGE=$REGISTRY/os:v1\n"))),
    "CONFIGURATION: Cannot use /etc/cos/config, line 2: the value of UPGRADE_IMAGE holds what only a shell could expand.",
  );
  assert.equal(
    await refusal(() => effective(config("UPGRADE_IMAGE=$REGISTRY/os:v1\n"), { UPGRADE_IMAGE: "r.example/os:v1" })),
    "nothing",
  );
  assert.equal(await refusal(() => effective(config("PS1=$HOME\nMOTD=it's\n"))), "nothing");
  assert.equal(
    await refusal(() => effective(config("VERIFY=maybe\n"))),
    'CONFIGURATION: Cannot use /etc/cos/config, line 1: the value of VERIFY is "maybe", and must be true or false.',
  );
  assert.equal(
    await refusal(() => effective({}, { DEFAULT_IMAGE_SIZE: "8" })),
    'CONFIGURATION: Cannot use the environment: the value of DEFAULT_IMAGE_SIZE is "8", and must be a whole number from 16.',
  );
  assert.equal(
    await refusal(() => effective({ "/etc/elemental/config.yaml": "upgrade:\n  system: {uri: [a]}\n" })),
    'CONFIGURATION: Cannot use /etc/elemental/config.yaml: "upgrade.system.uri" must be a text.',
  );
  assert.match(
    await refusal(() => effective({ "/etc/elemental/config.yaml": "a: [\n" })),
    /^CONFIGURATION: .*config\.yaml, line/,
  );
  await using root = rootWith(config("VERIFY=false\n"));
  Deno.chmodSync(`${root.path}/etc/cos/config`, 0o666);
  const open = await refusal(() => readSettings({ root: root.path, env: () => undefined }));
  assert.match(
    open,
    /^CONFIGURATION: Cannot use the settings in .*\/etc\/cos\/config: .* can be written by others than root\.$/,
  );
});

Deno.test("a pipe in a file's place is refused, and nobody waits for what comes out of it", async () => {
  await using root = rootWith({ "/etc/cos/other": "" });
  await run("mkfifo", [`${root.path}/etc/cos/config`]);
  const read = () => readSettings({ root: root.path, env: () => undefined });
  assert.match(await refusal(read), /^CONFIGURATION: Cannot use the settings in .*\/config: it is no regular file\.$/);
});

Deno.test("an image is the word, else RECOVERY_IMAGE for the recovery system, else UPGRADE_IMAGE", () => {
  const settings = effectiveSettings([
    source("environment", { UPGRADE_IMAGE: "r.example/os:v1", RECOVERY_IMAGE: "r.example/recovery:v1" }),
  ]);
  const chosen = (request: Parameters<typeof chooseImage>[1]) => formatReference(chooseImage(settings, request));
  assert.equal(chosen({ recovery: false }), "r.example/os:v1");
  assert.equal(chosen({ recovery: true }), "r.example/recovery:v1");
  assert.equal(chosen({ recovery: true, word: { kind: "word", text: "r.example/x:v2" } }), "r.example/x:v2");
  assert.equal(chosen({ recovery: false, word: { kind: "directory", text: "/tree" } }), "dir:/tree");
  const without = effectiveSettings([source("environment", { UPGRADE_IMAGE: "r.example/os:v1" })]);
  assert.equal(formatReference(chooseImage(without, { recovery: true })), "r.example/os:v1");
});

Deno.test("a host, a tag or a digest makes an image of a word, whatever channels say; a package is named as one", async () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const of = (text: string, kind: "word" | "uri" = "word", env: Record<string, string> = {}) =>
    refusal(() => {
      const image = chooseImage(effectiveSettings([source("environment", env)]), {
        recovery: false,
        word: { kind, text },
      });
      throw new CosError("USAGE", formatReference(image), { hint: "" });
    });
  const channel = (text: string) =>
    `INVALID_REFERENCE: Cannot upgrade to "${text}": that names a package of a channel, and channels are not read any more.`;
  assert.deepEqual(
    await Promise.all([
      of("r.example/os", "word", { CHANNEL_UPGRADES: "true" }),
      of("rancher/harvester-os:v1"),
      of(`system/cos@${digest}`),
      of("localhost/os"),
      of("oci:/layout:v1"),
      of("system/cos"),
      of("channel:system/cos", "uri"),
      of("system/cos", "uri"),
      of("oci:r.example/os", "uri"),
      of("docker://r.example:5000/os:v1", "uri"),
      of("dir:/tree", "uri"),
    ]),
    [
      "USAGE: r.example/os:latest",
      "USAGE: docker.io/rancher/harvester-os:v1",
      `USAGE: docker.io/system/cos@${digest}`,
      "USAGE: localhost/os:latest",
      "USAGE: oci:/layout:v1",
      channel("system/cos"),
      channel("channel:system/cos"),
      channel("system/cos"),
      "USAGE: r.example/os:latest",
      "USAGE: r.example:5000/os:v1",
      "USAGE: dir:/tree",
    ],
  );
  assert.match(
    await of("system/cos", "word", { CHANNEL_UPGRADES: "false" }),
    /names neither a registry nor a tag nor a digest/,
  );
  assert.match(await of("file:/os.img", "uri"), /^INVALID_REFERENCE: Cannot install "file:\/os\.img"/);
});
