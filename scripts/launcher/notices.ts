/**
 * Prints the notices that go with the static file: what is in it, in which version, under which licence, with the
 * licences' texts. All of it is taken from the packages that were packed.
 *
 *     deno run -A scripts/launcher/notices.ts --deno-package DIRECTORY --debian-packages NAME,NAME
 */

interface Notice {
  title: string;
  /** What has to be said besides the licence. */
  remarks?: string;
  texts: string[];
}

/** The licences in whole that Debian's copyright files only point to. */
const COMMON = "/usr/share/common-licenses";

const REMARKS: Record<string, string> = {
  libc6: `glibc's loader and libraries lie in the file as Debian made them, but for one string of the loader: the path
/etc/ld.so.preload is emptied, so that no library of the machine is loaded into the program. The source is Debian's
package "glibc" of that version. You may put another glibc into the file: scripts/launcher/pack.ts makes it from a
directory of libraries (--libraries).`,
  "libgcc-s1": "libgcc_s is under the GPL with the GCC Runtime Library Exception.",
};

async function output(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")} failed: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

async function licenceFileOf(directory: string): Promise<string | undefined> {
  for await (const { name } of Deno.readDir(directory)) {
    if (/^licen[cs]e/i.test(name)) return await Deno.readTextFile(`${directory}/${name}`);
  }
}

/** An npm package in a directory. Where it brings no text, Debian's copy of the licence it names stands in. */
async function npmNotice(directory: string, remarks?: string): Promise<Notice> {
  const { name, version, license } = JSON.parse(await Deno.readTextFile(`${directory}/package.json`));
  const text = await licenceFileOf(directory) ?? await Deno.readTextFile(`${COMMON}/${license}`);
  return { title: `${name} ${version} (npm): ${license}`, texts: [text], ...(remarks ? { remarks } : {}) };
}

/** The npm packages that a module reaches, statically or by a dynamic import. */
async function npmNoticesOf(module: string): Promise<Notice[]> {
  const { npmPackages = {} } = JSON.parse(await output(Deno.execPath(), "info", "--json", module)) as {
    npmPackages?: Record<string, { localPath: string }>;
  };
  return Promise.all(Object.keys(npmPackages).sort().map((key) => npmNotice(npmPackages[key]!.localPath)));
}

async function debianNotice(name: string): Promise<Notice> {
  const version = (await output("dpkg-query", "-W", "-f", "${Version}", name)).trim();
  const original = name.replace(/-(amd64|arm64)-cross$/, "");
  const copyright = await Deno.readTextFile(`/usr/share/doc/${name}/copyright`);
  const remarks = REMARKS[original];
  return { title: `${name} ${version} (Debian)`, texts: [copyright], ...(remarks ? { remarks } : {}) };
}

function render({ title, remarks, texts }: Notice): string {
  const line = "=".repeat(100);
  return [line, title, line, "", ...(remarks ? [remarks, ""] : []), ...texts.map((text) => text.trim()), ""].join("\n");
}

if (import.meta.main) {
  const option = (name: string) => {
    const value = Deno.args[Deno.args.indexOf(`--${name}`) + 1];
    if (!Deno.args.includes(`--${name}`) || !value) throw new Error(`--${name} is missing`);
    return value;
  };
  const main = new URL("../../main.ts", import.meta.url).pathname;
  const licence = async (name: string): Promise<Notice> => ({
    title: `The text of ${name}`,
    texts: [await Deno.readTextFile(`${COMMON}/${name}`)],
  });
  const notices = [
    await npmNotice(
      option("deno-package"),
      "Deno contains V8, SQLite and many Rust crates, under permissive licences of their own: its source names them.",
    ),
    ...await npmNoticesOf(main),
    ...await Promise.all(option("debian-packages").split(",").map(debianNotice)),
    ...await Promise.all(["LGPL-2.1", "GPL-3", "GPL-2", "Apache-2.0"].map(licence)),
  ];
  console.log(
    "cos is under the Apache License 2.0 (its text stands at the end). The static file also contains:\n\n" +
      notices.filter(({ title }) => !title.startsWith("The text of")).map(({ title }) => `  ${title}`).join("\n") +
      "\n",
  );
  for (const notice of notices) console.log(render(notice));
}
