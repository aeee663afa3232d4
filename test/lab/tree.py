"""Lists a directory tree, one JSON object a line, sorted by the raw bytes of the path.

Python, because the runtime's own stat knows no nanoseconds and no extended attributes; and so that the comparison
shares no code with the program that it judges. Bytes (paths, targets, names of attributes) are given as Latin-1.
"""
import base64, hashlib, json, os, stat, sys

TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char",
    stat.S_IFBLK: "block", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
}


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def paths(root):
    yield b"."
    stack = [b""]
    while stack:
        directory = stack.pop()
        for entry in os.scandir(os.path.join(root, directory)):
            path = os.path.join(directory, entry.name)
            yield path
            if entry.is_dir(follow_symlinks=False):
                stack.append(path)


def text(raw):
    return os.fsencode(raw).decode("latin-1")


root = os.fsencode(sys.argv[1])
found = {path: os.lstat(os.path.join(root, path)) for path in sorted(paths(root))}
names = {}
for path, info in found.items():
    if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
        names.setdefault((info.st_dev, info.st_ino), []).append(text(path))
for path, info in found.items():
    full = os.path.join(root, path)
    kind = TYPES[stat.S_IFMT(info.st_mode)]
    entry = {
        "path": text(path), "type": kind, "mode": stat.S_IMODE(info.st_mode), "uid": info.st_uid, "gid": info.st_gid,
        "mtime": str(info.st_mtime_ns),
        "xattrs": {
            text(name): base64.b64encode(os.getxattr(full, name, follow_symlinks=False)).decode()
            for name in sorted(os.listxattr(full, follow_symlinks=False))
        },
    }
    if kind == "file":
        entry |= {"size": info.st_size, "sha256": sha256(full)}
    if kind == "symlink":
        entry["target"] = text(os.readlink(full))
    if kind in ("char", "block"):
        entry["device"] = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    group = names.get((info.st_dev, info.st_ino), [])
    if len(group) > 1:
        entry["links"] = group
    print(json.dumps(entry))
