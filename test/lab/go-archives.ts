/**
 * What Go's own tests expect of the odd archives that they come with (archive/tar of Go 1.19, reader_test.go and writer_test.go; Debian's
 * golang-1.19-src): facts to hold our reader against, because registries, builders and most unpackers are written in Go.
 */
export const GO_ARCHIVES = "/usr/share/go-1.19/src/archive/tar/testdata";

export interface GoEntry {
  type: "0" | "1" | "2" | "3" | "4" | "5" | "6";
  name: string;
  link?: string;
  mode: number;
  uid?: number;
  gid?: number;
  size?: number;
  /** Seconds, as text where there is a fraction. */
  mtime?: number | string;
  xattrs?: Record<string, string>;
}

export interface GoArchive {
  /** The entries that Go reads; "error" where it must fail; "unread" where none of its tests reads the file, but only writes its like. */
  go: GoEntry[] | "error" | "unread";
  /** Where we read something else: what, or the error, and why. */
  ours?: { entries: GoEntry[]; why: string } | { error: string; why: string };
  /** Where the reader takes it, and the layer is refused. */
  layer?: string;
  /** Not laid beside what GNU tar, or Python, makes of it. */
  without?: { tar?: string; tarfile?: string };
}

const SELINUX = "unconfined_u:object_r:default_t:s0\0";
const EDITORS = { mode: 0o640, uid: 73025, gid: 5000 };
const EMPTY = { type: "0", mode: 0 } as const;
const DSNET = { uid: 319973, gid: 5000 };
const SPARSE = { type: "0", mode: 0o644, uid: 1000, gid: 1000, size: 200 } as const;
const DIGITS = Array.from({ length: 100 }, (_, i) => i + 1).join("");
/** Eight kinds of entries, and the same again with sizes that only the file has content for. */
const HEADERS_ONLY: GoEntry[] = [
  { type: "5", name: "dir/", mode: 0o750, ...DSNET, mtime: 1442273732 },
  { type: "6", name: "fifo", mode: 0o640, ...DSNET, mtime: 1442273806 },
  { type: "0", name: "file", mode: 0o640, ...DSNET, mtime: 1442273747, size: 46 },
  { type: "1", name: "hardlink", link: "file", mode: 0o640, ...DSNET, mtime: 1442273747 },
  { type: "3", name: "null", mode: 0o666, ...DSNET, mtime: 1442264573 },
  { type: "4", name: "sda", mode: 0o660, ...DSNET, mtime: 1442264573 },
  { type: "2", name: "symlink", link: "file", mode: 0o777, ...DSNET, mtime: 1442273756 },
  { type: "2", name: "badlink", link: "missing", mode: 0o777, ...DSNET, mtime: 1442274044 },
];
const OUT_OF_RANGE = { error: "a header's size is out of range", why: "" };
const TRUNCATED = "Its 16 GiB are not there.";

export const GO_FILES: Record<string, GoArchive> = {
  "file-and-dir.tar": {
    go: [{ ...EMPTY, name: "small.txt", size: 5 }, { type: "5", name: "dir/", mode: 0 }],
  },
  "gnu-incremental.tar": {
    go: [
      { type: "5", name: "test2/", mode: 0o755, uid: 1000, gid: 1000, size: 14, mtime: 1441973427 },
      { type: "0", name: "test2/foo", mode: 0o644, uid: 1000, gid: 1000, size: 64, mtime: 1441973363 },
      { type: "0", name: "test2/sparse", mode: 0o644, uid: 1000, gid: 1000, size: 536870912, mtime: 1441973427 },
    ],
    ours: {
      error: '"test2/" is of type "D", which no layer may hold',
      why: "A backup's list of what was in a directory; podman and umoci know no such type.",
    },
  },
  "gnu-long-nul.tar": { go: [{ type: "0", name: "0123456789", mode: 0o644, uid: 1000, gid: 1000, mtime: 1486082191 }] },
  "gnu-multi-hdrs.tar": {
    go: [{ type: "2", name: "GNU2/GNU2/long-path-name", link: "GNU4/GNU4/long-linkpath-name", mode: 0 }],
    without: { tarfile: "It takes the first of two long names." },
  },
  "gnu-nil-sparse-data.tar": { go: [{ ...EMPTY, name: "sparse.db", size: 1000 }] },
  "gnu-nil-sparse-hole.tar": { go: [{ ...EMPTY, name: "sparse.db", size: 1000 }] },
  "gnu-not-utf8.tar": { go: [{ type: "0", name: "hi\x80\x81\x82\x83bye", mode: 0o644, uid: 1000, gid: 1000 }] },
  "gnu-sparse-big.tar": { go: [{ ...EMPTY, name: "gnu-sparse", size: 60_000_000_000 }] },
  "gnu-utf8.tar": { go: [{ type: "0", name: "☺☻☹".repeat(18), mode: 0o644, uid: 1000, gid: 1000 }] },
  "gnu.tar": {
    go: [
      { type: "0", name: "small.txt", ...EDITORS, size: 5, mtime: 1244428340 },
      { type: "0", name: "small2.txt", ...EDITORS, size: 11, mtime: 1244436044 },
    ],
  },
  "hardlink.tar": {
    go: [
      { type: "0", name: "file.txt", mode: 0o644, uid: 1000, gid: 100, size: 15, mtime: 1425484303 },
      { type: "1", name: "hard.txt", link: "file.txt", mode: 0o644, uid: 1000, gid: 100, mtime: 1425484303 },
    ],
  },
  "hdr-only.tar": {
    go: [...HEADERS_ONLY, ...HEADERS_ONLY],
    without: { tarfile: "It does not replace a pipe by a pipe." },
  },
  "invalid-go17.tar": {
    go: [{ ...EMPTY, name: `${"a".repeat(97)}/foo`, uid: 0o10000000 }],
    without: { tar: "It does not read the prefix that Go before 1.8 wrote into GNU's header." },
  },
  "issue10968.tar": { go: "error", ours: OUT_OF_RANGE },
  "issue11169.tar": { go: "error", ours: { error: "an extended header holds a record with a wrong length", why: "" } },
  "issue12435.tar": { go: "error", ours: OUT_OF_RANGE },
  "neg-size.tar": { go: "error", ours: OUT_OF_RANGE },
  "nil-uid.tar": { go: [{ type: "0", name: "P1050238.JPG.log", mode: 0o664, size: 14, mtime: 1365454838 }] },
  "pax-bad-hdr-file.tar": {
    go: "error",
    ours: { error: "an extended header holds a record with a wrong length", why: "" },
  },
  "pax-bad-hdr-large.tar.bz2": {
    go: "error",
    ours: { error: "an extension header is 1048577 bytes long; at most 1048576 are read", why: "" },
  },
  "pax-bad-mtime-file.tar": {
    go: "error",
    ours: { error: 'a time is "999xxx9324.432432444444", which is no number', why: "" },
  },
  "pax-global-records.tar": {
    go: [
      { ...EMPTY, name: "file1" },
      { ...EMPTY, name: "file2" },
      { ...EMPTY, name: "file3" },
      { ...EMPTY, name: "file4", mtime: 1400000000 },
    ],
    ours: {
      entries: [
        { ...EMPTY, name: "file1", mtime: 1500000000 },
        { ...EMPTY, name: "file2", mtime: 1500000000 },
        { ...EMPTY, name: "file3", mtime: 1500000000 },
        { ...EMPTY, name: "file4", mtime: 1400000000 },
      ],
      why: "Go gives global records to its caller and uses none; POSIX says that they hold for all entries behind.",
    },
    without: {
      tar: "It takes the global path for every entry's, and an empty one for an empty name.",
      tarfile: "It takes the global path for every entry's, and an empty one for an empty name.",
    },
  },
  "pax-multi-hdrs.tar": {
    go: [{ type: "2", name: "bar", link: "PAX4/PAX4/long-linkpath-name", mode: 0 }],
    ours: {
      error: "two extended headers stand before one entry",
      why: "Go and GNU tar take the second header, Python the first: nobody gets to choose.",
    },
  },
  "pax-nil-sparse-data.tar": {
    go: [{ ...EMPTY, name: "sparse.db", size: 1000 }],
    without: { tarfile: "It takes the size of what is stored, where a record says it, for the file's." },
  },
  "pax-nil-sparse-hole.tar": {
    go: [{ ...EMPTY, name: "sparse.db", size: 1000 }],
    without: { tarfile: "It takes the size of what is stored, where a record says it, for the file's." },
  },
  "pax-nul-path.tar": {
    go: "error",
    ours: {
      entries: [{ ...EMPTY, name: `${"0123456789".repeat(20)}\0` }],
      why: "Names are checked where they are used.",
    },
    layer: `the path "${"0123456789".repeat(20)}\\\\u0000" holds a NUL byte`,
  },
  "pax-nul-xattrs.tar": { go: "error", ours: { error: "an extended header holds a key with a NUL byte", why: "" } },
  "pax-path-hdr.tar": { go: "error", ours: { error: "the archive ends in the middle of a header", why: "" } },
  "pax-pos-size-file.tar": { go: [{ type: "0", name: "foo", mode: 0o640, ...DSNET, size: 999, mtime: 1442282516 }] },
  "pax-records.tar": { go: [{ ...EMPTY, name: "file" }] },
  "pax-sparse-big.tar": { go: [{ ...EMPTY, name: "pax-sparse", size: 60_000_000_000 }] },
  "pax.tar": {
    go: [
      { type: "0", name: `a/${DIGITS}`, mode: 0o664, uid: 1000, gid: 1000, size: 7, mtime: "1350244992.023960108" },
      { type: "2", name: "a/b", link: DIGITS, mode: 0o777, uid: 1000, gid: 1000, mtime: "1350266320.910238425" },
    ],
    without: { tarfile: "A float holds no nanoseconds." },
  },
  "sparse-formats.tar": {
    go: [
      { ...SPARSE, name: "sparse-gnu", mtime: 1392395740 },
      { ...SPARSE, name: "sparse-posix-0.0", mtime: 1392342187 },
      { ...SPARSE, name: "sparse-posix-0.1", mtime: 1392340456 },
      { ...SPARSE, name: "sparse-posix-1.0", mtime: 1392337404 },
      { ...SPARSE, name: "end", size: 4, mtime: 1392398319 },
    ],
    without: { tar: "It begins a new block for each piece, which only its own maps, of whole blocks, have." },
  },
  "star.tar": {
    go: [
      { type: "0", name: "small.txt", ...EDITORS, size: 5, mtime: 1244592783 },
      { type: "0", name: "small2.txt", ...EDITORS, size: 11, mtime: 1244592783 },
    ],
  },
  "trailing-slash.tar": { go: [{ type: "5", name: "123456789/".repeat(30), mode: 0 }] },
  "ustar-file-devs.tar": { go: [{ type: "0", name: "file", mode: 0o644 }] },
  "ustar-file-reg.tar": { go: [{ type: "0", name: "foo", mode: 0o640, ...DSNET, size: 684, mtime: 1442282516 }] },
  "ustar.tar": {
    go: [{
      type: "0",
      name: `${"longname/".repeat(15)}file.txt`,
      mode: 0o644,
      uid: 501,
      gid: 20,
      size: 6,
      mtime: 1360135598,
    }],
  },
  "v7.tar": {
    go: [
      { type: "0", name: "small.txt", mode: 0o444, uid: 73025, gid: 5000, size: 5, mtime: 1244593104 },
      { type: "0", name: "small2.txt", mode: 0o444, uid: 73025, gid: 5000, size: 11, mtime: 1244593104 },
    ],
  },
  "writer-big-long.tar": {
    go: "unread",
    ours: { error: `the archive ends in the middle of "${"longname/".repeat(15)}16gig.txt"`, why: TRUNCATED },
  },
  "writer-big.tar": {
    go: "unread",
    ours: { error: 'the archive ends in the middle of "tmp/16gig.txt"', why: TRUNCATED },
  },
  "writer.tar": {
    go: [
      { type: "0", name: "small.txt", ...EDITORS, size: 5, mtime: 1246508266 },
      { type: "0", name: "small2.txt", ...EDITORS, size: 11, mtime: 1245217492 },
      { type: "2", name: "link.txt", link: "small.txt", mode: 0o777, uid: 1000, gid: 1000, mtime: 1314603082 },
    ],
  },
  "xattrs.tar": {
    go: [
      {
        ...{ type: "0", name: "small.txt", mode: 0o644, uid: 1000, gid: 10, size: 5, mtime: "1386065770.448252320" },
        xattrs: { "user.key": "value", "user.key2": "value2", "security.selinux": SELINUX },
      },
      {
        ...{ type: "0", name: "small2.txt", mode: 0o644, uid: 1000, gid: 10, size: 11, mtime: "1386065770.449252304" },
        xattrs: { "security.selinux": SELINUX },
      },
    ],
    without: { tarfile: "It knows no extended attributes, and a float holds no nanoseconds." },
  },
};

/** Not archives: contents for Go's writer. */
export const GO_OTHERS = ["small.txt", "small2.txt"];
