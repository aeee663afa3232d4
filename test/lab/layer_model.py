"""What a stack of layers becomes, computed in memory from the words of image-spec 1.1, layer.md, and printed as tree.py lists a tree.

A second opinion on the program's own writer, which works on a filesystem and in one pass. This reads the archives with Python's
tarfile and takes each layer in two passes, as the specification is worded: what its whiteouts hide is taken out of the layers
below, wherever the markers stand; then its entries are laid over what is left.

Input, a line each: NAME and the archives of one image, lowest first, parted by tabs. Output: a line `# NAME`, then its entries. A time
that no entry says is null. What a correct archive cannot hold is not looked for: the peers here are judged by honest images.
"""
import base64, decimal, hashlib, json, struct, sys, tarfile, urllib.parse

FOLLOWED = 40
ACLS = {"SCHILY.acl.access": b"system.posix_acl_access", "SCHILY.acl.default": b"system.posix_acl_default"}
# Times that ext4 can keep: seconds.
EARLIEST, LATEST = -(2**31), 15032385535


def raw(text):
    return text.encode("utf-8", "surrogateescape")


class Node:
    def __init__(self, kind, mode=0o755, uid=0, gid=0, mtime=None, xattrs=None, **more):
        self.kind, self.mode, self.uid, self.gid, self.mtime = kind, mode, uid, gid, mtime
        self.xattrs = xattrs or {}
        self.content, self.target, self.device = more.get("content"), more.get("target"), more.get("device")
        self.children = {} if kind == "directory" else None


def parts_of(name):
    return [part for part in name.split(b"/") if part not in (b"", b".")]


class Tree:
    def __init__(self):
        self.root = Node("directory", mtime=0)

    def directory(self, parts, make=False):
        """The directory that the parts lead to, links followed inside of the tree; what is missing is made where asked."""
        stack, todo, links = [self.root], list(reversed(parts)), 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if len(stack) > 1:
                    stack.pop()
                continue
            here = stack[-1].children
            node = here.get(part)
            if node is not None and node.kind == "symlink":
                links += 1
                assert links <= FOLLOWED
                if node.target.startswith(b"/"):
                    del stack[1:]
                todo.extend(reversed(node.target.split(b"/")))
                continue
            if node is None or node.kind != "directory":
                if not make:
                    return None
                node = here[part] = Node("directory")
            stack.append(node)
        return stack[-1]

    def find(self, parts):
        parent = self.directory(parts[:-1])
        return None if parent is None else parent.children.get(parts[-1])

    def skeleton(self):
        """The same files under the same names, in directories of its own."""
        copy = Tree()

        def fill(to, origin):
            for name, node in origin.children.items():
                if node.kind == "directory":
                    to.children[name] = Node("directory")
                    fill(to.children[name], node)
                else:
                    to.children[name] = node

        fill(copy.root, self.root)
        return copy


def apply(tree, archive, lowest):
    with tarfile.open(archive, "r:", encoding="utf-8", errors="surrogateescape") as tar:
        members = [(parts_of(raw(member.name)), member) for member in tar]
        before = tree.skeleton()
        if not lowest:
            for parts, _ in members:
                hide(tree, parts)
        waiting = []
        for parts, member in members:
            if parts and parts[-1].startswith(b".wh."):
                continue
            if member.islnk():
                waiting = [(path, target) for path, target in waiting if path != parts]
                if not link(tree, before, parts, parts_of(raw(member.linkname))):
                    waiting.append((parts, parts_of(raw(member.linkname))))
                continue
            node = node_of(tar, member)
            if node is None:
                continue
            waiting = [(path, target) for path, target in waiting if path != parts]
            place(tree, parts, node)
        while waiting:
            left = [one for one in waiting if not link(tree, before, *one)]
            assert len(left) < len(waiting), f"hardlinks without a target: {left}"
            waiting = left
        for name in [name for name in tree.root.children if name.startswith(b".wh..wh.")]:
            del tree.root.children[name]


def hide(tree, parts):
    if not parts or not parts[-1].startswith(b".wh.") or len(parts) > 1 and parts[0].startswith(b".wh."):
        return
    name = parts[-1]
    if name == b".wh..wh..opq":
        if len(parts) == 1:
            tree.root.children.clear()
            return
        parent = tree.directory(parts[:-2])
        node = None if parent is None else parent.children.get(parts[-2])
        if node is not None and node.kind == "directory":
            node.children.clear()
        elif node is not None and node.kind == "symlink":
            parent.children[parts[-2]] = Node("directory")
    elif not name.startswith(b".wh..wh."):
        parent = tree.directory(parts[:-1])
        if parent is not None:
            parent.children.pop(name[4:], None)


def place(tree, parts, node):
    if not parts:
        node.children, tree.root = tree.root.children, node
        return
    siblings = tree.directory(parts[:-1], make=True).children
    old = siblings.get(parts[-1])
    if node.kind == "directory" and old is not None and old.kind == "directory":
        node.children = old.children
    siblings[parts[-1]] = node


def link(tree, before, parts, target):
    node = tree.find(target) or before.find(target)
    if node is None:
        return False
    assert node.kind != "directory", (parts, target)
    tree.directory(parts[:-1], make=True).children[parts[-1]] = node
    return True


def node_of(tar, member):
    more = {"mode": member.mode & 0o7777, "uid": member.uid, "gid": member.gid, "mtime": mtime(member), "xattrs": xattrs(member)}
    if member.isdir():
        return Node("directory", **more)
    if member.issym():
        more["mode"] = 0o777
        return Node("symlink", target=raw(member.linkname), **more)
    if member.isfifo():
        return Node("fifo", **more)
    if member.ischr() or member.isblk():
        if member.ischr() and (member.devmajor, member.devminor) == (0, 0):
            return None  # what overlayfs left behind
        return Node("char" if member.ischr() else "block", device=f"{member.devmajor}:{member.devminor}", **more)
    assert member.isfile(), member.type
    return Node("file", content=tar.extractfile(member).read(), **more)


def mtime(member):
    seconds = decimal.Decimal(member.pax_headers.get("mtime", member.mtime))
    if seconds < EARLIEST:
        seconds = decimal.Decimal(EARLIEST)
    if seconds > LATEST + 1:
        seconds = decimal.Decimal(LATEST)
    return int((seconds * 10**9).to_integral_value(decimal.ROUND_FLOOR))


def xattrs(member):
    found = {}
    for key, value in member.pax_headers.items():
        if key.startswith("LIBARCHIVE.xattr."):
            value = raw(value)
            found[urllib.parse.unquote_to_bytes(key[17:])] = base64.b64decode(value + b"=" * (-len(value) % 4))
    for key, value in member.pax_headers.items():
        if key in ACLS and not member.issym():
            binary = acl(value)
            if binary is not None:
                found.setdefault(ACLS[key], binary)
        if key.startswith("SCHILY.xattr."):
            found[raw(key[13:])] = raw(value)
    return {
        key: value for key, value in found.items()
        if value and not key.startswith((b"trusted.overlay.", b"user.overlay."))
    }


def acl(text):
    """acl(5) with numbers for names, in the kernel's form; none for a list that says no more than the mode."""
    tags = {("user", False): 1, ("user", True): 2, ("group", False): 4, ("group", True): 8, ("mask", False): 16, ("other", False): 32}
    entries = []
    for entry in text.replace("\n", ",").split(","):
        if entry:
            word, who, rights, *number = entry.split(":")
            ident = int(number[0] if number else who) if who else 0xFFFFFFFF
            bits = sum(bit for letter, bit in zip("rwx", (4, 2, 1)) if letter in rights)
            entries.append((tags[word, bool(who)], ident, bits))
    if len(entries) == 3:
        return None
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, ident) for tag, ident, bits in sorted(entries))


def listing(tree):
    paths = []

    def walk(node, path):
        paths.append((path or b".", node))
        for name, child in (node.children or {}).items():
            walk(child, path + b"/" + name if path else name)

    walk(tree.root, b"")
    paths.sort(key=lambda pair: pair[0])
    names = {}
    for path, node in paths:
        names.setdefault(id(node), []).append(path.decode("latin-1"))
    for path, node in paths:
        entry = {
            "path": path.decode("latin-1"), "type": node.kind, "mode": node.mode, "uid": node.uid, "gid": node.gid,
            "mtime": None if node.mtime is None else str(node.mtime),
            "xattrs": {key.decode("latin-1"): base64.b64encode(value).decode() for key, value in sorted(node.xattrs.items())},
        }
        if node.kind == "file":
            entry |= {"size": len(node.content), "sha256": hashlib.sha256(node.content).hexdigest()}
        if node.kind == "symlink":
            entry["target"] = node.target.decode("latin-1")
        if node.device:
            entry["device"] = node.device
        if len(names[id(node)]) > 1:
            entry["links"] = names[id(node)]
        print(json.dumps(entry))


sys.setrecursionlimit(5000)
for line in sys.stdin:
    name, *archives = line.rstrip("\n").split("\t")
    image = Tree()
    try:
        for number, archive in enumerate(archives):
            apply(image, archive, number == 0)
    except AssertionError as error:
        sys.exit(f"image {name}: {error}")
    print(f"# {name}")
    listing(image)
