/** Settings files of the older tools: read as a shell would assign, and never run. */
import assert from "node:assert/strict";
import { parseShellAssignments, type ShellAssignment } from "../../lib/formats/shell-assignments.ts";
import { run } from "../lab/run.ts";

const brief = (found: ShellAssignment[]) =>
  found.map(({ name, value, line, fault }) => `${line} ${name}=${value}${fault === undefined ? "" : ` (${fault})`}`);

Deno.test("quotes, comments, export and continued lines", () => {
  const text = `# a comment
export UPGRADE_IMAGE="registry.example.org/os/base:v2" # another
  VERIFY=false
A='single $HOME'"double \\"quoted\\" \\$x"plain\\ space
B=one C=two; D=three
E="two
lines"
F=con\\
tinued
readonly G=
H=a#b
\r
I=crlf\r
`;
  assert.deepEqual(brief(parseShellAssignments(text)), [
    "2 UPGRADE_IMAGE=registry.example.org/os/base:v2",
    "3 VERIFY=false",
    '4 A=single $HOMEdouble "quoted" $xplain space',
    "5 B=one",
    "5 C=two",
    "5 D=three",
    "6 E=two\nlines",
    "8 F=continued",
    "10 G=",
    "11 H=a#b",
    "13 I=crlf",
  ]);
});

Deno.test("what only a shell could know is marked, and nothing of it is run", () => {
  const command = "stands in a command, and commands are not run", expanded = "holds what only a shell could expand";
  const text = `A=$REGISTRY/os
B="\${REGISTRY}/os"
C=\`hostname\`
D=$(touch /tmp/cos-was-run)
if [ -e /x ]; then
E=1
fi
[ -e /x ] && F=2
G=3 env
H=4
I="never ends
J=5`;
  assert.deepEqual(brief(parseShellAssignments(text)), [
    `1 A=$REGISTRY/os (${expanded})`,
    `2 B=\${REGISTRY}/os (${expanded})`,
    `3 C=\`hostname\` (${expanded})`,
    `4 D=$(touch (${expanded})`,
    `6 E=1 (${command})`,
    `8 F=2 (${command})`,
    `9 G=3 (${command})`,
    "10 H=4",
    "11 I= (has a quote without an end)",
    "12 J=5",
  ]);
});

Deno.test("a shell reads the same where nothing is marked", async () => {
  const values = ["plain", '"in quotes"', "'single'", `"a\\"b"`, `a\\ b'c d'"e"`, '"x\\\ny"', "'#no'#no", '""', "a=b"];
  const text = values.map((value, i) => `export V${i}=${value} # x`).join("\n");
  const printed = await run("sh", [
    "-c",
    `${text}\nfor i in 0 1 2 3 4 5 6 7 8; do eval printf '%s\\\\0' '"$V'$i'"'; done`,
  ]);
  assert.deepEqual(parseShellAssignments(text).map(({ value }) => value), printed.split("\0").slice(0, -1));
});

Deno.test("whatever the text is, it is read to its end", () => {
  const pieces = ["A=", "'", '"', "\\", "\n", ";", "&", "|", "$", "`", "#", " ", "if", "fi", "\r", "(", ")"];
  let seed = 1;
  for (let round = 0; round < 2000; round++) {
    let text = "";
    for (let i = 0; i < 12; i++) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      text += pieces[seed % pieces.length];
    }
    assert.ok(parseShellAssignments(text).every(({ name }) => name.endsWith("A")));
  }
  assert.equal(parseShellAssignments(`A="${"x\\".repeat(200_000)}`).length, 1);
});
