/**
 * Random images, the same for the same seed: layers over layers with everything that honest ones hold, and names so few that they
 * meet all the time. What no honest layer holds, because its parts contradict each other, is not made: a marker below a name that the
 * same layer makes a link of, or a hardlink behind the marker that hides its target.
 */
import { Random } from "./random.ts";
import * as t from "./tar-writer.ts";

/** What a peer that cannot do it is spared. */
export interface RandomImageOptions {
  /** Hardlinks that stand before their target. */
  forwardLinks: boolean;
  /** Files below directories for which there is no entry. */
  impliedParents: boolean;
  /** Files whose parent is a link to a directory. */
  throughLinks: boolean;
  /** Markers behind what they are not to hide. */
  lateMarkers: boolean;
  /** Opaque markers of a directory with no entry in their layer. */
  bareOpaque: boolean;
  /** Entries or markers of the layer below a name that it also hides. */
  hideAndReplace: boolean;
  /** Several entries of one layer for one name. */
  duplicates: boolean;
  /** Hardlinks to files of lower layers. */
  linksToLower: boolean;
  /** Markers of names that the lower layers do not have. */
  idleMarkers: boolean;
  /** Times before 1970. */
  oldTimes: boolean;
}

export const EVERYTHING: RandomImageOptions = {
  forwardLinks: true,
  impliedParents: true,
  throughLinks: true,
  lateMarkers: true,
  bareOpaque: true,
  hideAndReplace: true,
  duplicates: true,
  linksToLower: true,
  idleMarkers: true,
  oldTimes: true,
};

type Kind = "directory" | "file" | "symlink" | "node";

interface Known {
  kind: Kind;
  layer: number;
  /** Where a link to a directory leads. */
  to?: string;
  /** What the entry said of it; an honest hardlink to it says the same. */
  attributes?: t.Attributes;
}

const NAMES = ["a", "b", "c", "d", "e", "f.txt", "g h", "ä", ".hidden", "wh.x", "0".repeat(120)];
const MODES = [0o644, 0o600, 0o755, 0o4755, 0o2755, 0o6711, 0o1777, 0o444, 0, 0o2000];
const TIMES = [0, 1, 1_700_000_000, "1700000000.123456789", "1234567890.5", "-1.25", -86400, "4294967296.000000001"];
const IDS = [0, 1, 1000, 65534, 65536, 2_097_151, 2_097_152, 4_000_000_000];

export function randomImage(seed: number, options: RandomImageOptions = EVERYTHING): t.TarItem[][] {
  const made = new RandomImage(seed, options);
  const layers = 2 + made.random.next(4);
  return Array.from({ length: layers }, (_, index) => made.layer(index));
}

class RandomImage {
  readonly random: Random;
  readonly #options: RandomImageOptions;
  /** What the layers so far have made, by path. */
  readonly #known = new Map<string, Known>();
  #index = 0;
  #items: t.TarItem[] = [];
  /** Paths that this layer's markers hide, and those that have markers below them: they stay directories. */
  #hidden: string[] = [];
  #kept = new Set<string>();
  /** Links among what they hide: until their marker comes, a path would lead through them. */
  #hiddenLinks = new Set<string>();
  /** Paths with an entry in this layer. */
  #said = new Set<string>();

  constructor(seed: number, options: RandomImageOptions) {
    this.random = new Random(seed);
    this.#options = options;
  }

  layer(index: number): t.TarItem[] {
    const { random } = this;
    this.#index = index;
    this.#items = [];
    this.#hidden = [];
    this.#kept.clear();
    this.#hiddenLinks.clear();
    this.#said.clear();
    if (random.next(3) === 0) this.#items.push(t.directory("./", this.#attributes()));
    const markers = index === 0 ? [] : this.#markers();
    const front = this.#items.length;
    for (let count = 3 + random.next(20); count > 0; count--) this.#entry();
    if (!this.#options.lateMarkers) return this.#items.toSpliced(front, 0, ...markers);
    for (const marker of markers) this.#items.splice(front + random.next(this.#items.length - front + 1), 0, marker);
    return this.#items;
  }

  #markers(): t.TarItem[] {
    const { random } = this, markers: t.TarItem[] = [];
    for (let count = random.next(5); count > 0; count--) {
      const lower = [...this.#known.keys()].filter((path) => !this.#hidden.some((one) => under(path, one)));
      if (lower.length === 0) break;
      const path = random.pick(lower);
      if (!this.#options.hideAndReplace && this.#hidden.some((one) => under(one, path))) continue;
      if (!this.#options.impliedParents) this.#sayParents(path);
      if (this.#known.get(path)?.kind === "directory" && random.next(2) === 0) {
        if (!this.#options.bareOpaque) {
          this.#items.push(t.directory(path, this.#attributes()));
          this.#said.add(path);
        }
        markers.push(t.opaque(path));
        this.#hide(path, false);
      } else {
        markers.push(t.whiteout(path));
        this.#hide(path, true);
      }
      for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) this.#kept.add(path.slice(0, at));
    }
    if (this.#options.idleMarkers && random.next(4) === 0) {
      markers.push(t.whiteout("nothing/here"), t.whiteout("nothing-here"));
    }
    return markers;
  }

  #hide(path: string, itself: boolean): void {
    this.#hidden.push(path);
    if (!itself) this.#kept.add(path);
    for (const one of [...this.#known.keys()]) {
      if (!under(one, path) || (!itself && one === path)) continue;
      if (this.#known.get(one)?.kind === "symlink") this.#hiddenLinks.add(one);
      this.#known.delete(one);
    }
  }

  #entry(): void {
    const { random } = this, path = this.#place();
    if (path === undefined) return;
    const old = this.#known.get(path.real);
    if (this.#kept.has(path.real)) return this.#directory(path);
    if (old?.kind === "directory" && random.next(3) !== 0) return this.#directory(path);
    const a = this.#attributes();
    switch (random.next(9)) {
      case 0:
      case 1:
        return this.#directory(path);
      case 2: {
        const directories = [...this.#known].filter(([, { kind }]) => kind === "directory").map(([one]) => one);
        const to = directories.length > 0 && random.next(2) === 0 ? random.pick(directories) : undefined;
        this.#items.push(
          t.symlink(path.said, to === undefined ? random.pick(["nowhere", "../x/y", "/"]) : `/${to}`, a),
        );
        return this.#set(path.real, { kind: "symlink", attributes: a, ...(to !== undefined && { to }) });
      }
      case 3:
        this.#items.push(
          random.next(2) === 0 ? t.fifo(path.said, a) : t.charDevice(path.said, 1, 3 + random.next(9), a),
        );
        return this.#set(path.real, { kind: "node", attributes: a });
      case 4:
      case 5:
        return this.#hardlink(path);
      default:
        this.#items.push(t.file(path.said, this.#content(), a));
        return this.#set(path.real, { kind: "file", attributes: a });
    }
  }

  #directory({ said, real }: Place): void {
    this.#items.push(t.directory(said, this.#attributes()));
    if (this.#known.get(real)?.kind !== "directory") this.#set(real, { kind: "directory" });
    this.#said.add(real);
  }

  #hardlink({ said, real }: Place): void {
    const targets = [...this.#known].filter(([path, { kind }]) => kind !== "directory" && path !== real).map(([path]) =>
      path
    );
    if (this.#options.forwardLinks && this.random.next(4) === 0) {
      // The target comes behind. Neither name was ever there before: until the link is made, the old one would be found.
      const link = `link-${this.#index}-${this.#items.length}`, later = link.replace("link", "later");
      const attributes = this.#attributes();
      this.#items.push(t.hardlink(link, later, attributes), t.file(later, this.#content(), attributes));
      this.#set(link, { kind: "file", attributes });
      return this.#set(later, { kind: "file", attributes });
    }
    // What is not made yet is no target: the name that leads there would still be another file's.
    const pending = `link-${this.#index}-`;
    const inside = targets.filter((path) => !under(path, real) && !under(real, path) && !path.startsWith(pending))
      .filter((path) => this.#options.linksToLower || this.#said.has(path));
    if (inside.length === 0) return;
    const target = this.random.pick(inside);
    const known = this.#known.get(target);
    if (known === undefined) return;
    this.#items.push(t.hardlink(said, target, known.attributes));
    this.#set(real, known);
  }

  #set(path: string, known: Omit<Known, "layer">): void {
    for (const one of [...this.#known.keys()]) if (under(one, path)) this.#known.delete(one);
    this.#known.set(path, { ...known, layer: this.#index });
    this.#said.add(path);
    // Parents that are missing, or no directories, become directories.
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
      const parent = path.slice(0, at);
      if (this.#known.get(parent)?.kind !== "directory") {
        this.#known.set(parent, { kind: "directory", layer: this.#index });
      }
    }
  }

  /** A name for an entry: as the archive says it, and where it comes to lie. */
  #place(): Place | undefined {
    const { random } = this, options = this.#options;
    const directories = ["", ""];
    for (const [path, { kind }] of this.#known) if (kind === "directory") directories.push(path);
    const links = [...this.#known].filter(([path, { to, layer }]) =>
      to !== undefined && layer < this.#index && this.#known.get(to)?.kind === "directory" &&
      !this.#hidden.some((one) => under(path, one) || under(to, one)) && !this.#said.has(path)
    );
    let said = random.pick(directories), real = said;
    if (options.throughLinks && links.length > 0 && random.next(4) === 0) {
      const [path, { to = "" }] = random.pick(links);
      said = path;
      real = to;
    }
    const name = random.pick(NAMES);
    const below = options.impliedParents && random.next(8) === 0 ? `${random.pick(NAMES)}/${name}` : name;
    const place = { said: join(said, below), real: join(real, below) };
    if (below !== name) {
      // What is walked through must be a directory, or nothing: a link would lead elsewhere.
      const parent = this.#known.get(place.real.slice(0, place.real.lastIndexOf("/")));
      if (parent?.kind === "symlink") return undefined;
    }
    if (place.real.split("/").length > 12) return undefined;
    if ([...this.#hiddenLinks].some((link) => place.real !== link && under(place.real, link))) return undefined;
    // A link that is asked to lead to its own replacement.
    if (said !== real && under(said, place.real)) return undefined;
    if (!options.hideAndReplace && this.#hidden.some((one) => under(place.real, one))) return undefined;
    if (!options.duplicates && (this.#said.has(place.real) || this.#hidesBelow(place.real))) return undefined;
    if (!options.impliedParents) this.#sayParents(place.real);
    return place;
  }

  /** Something of this layer lies below: an entry of another kind would be the name's second. */
  #hidesBelow(path: string): boolean {
    return this.#known.get(path)?.kind === "directory" && [...this.#said].some((one) => under(one, path));
  }

  /** An entry for each directory on the way, as builders write them. */
  #sayParents(path: string): void {
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
      const parent = path.slice(0, at);
      if (this.#said.has(parent)) continue;
      this.#items.push(t.directory(parent, this.#attributes()));
      this.#said.add(parent);
    }
  }

  #content(): Uint8Array {
    const { random } = this, length = random.pick([0, 1, 3, 511, 512, 513, 4096, 10_000]);
    return new Uint8Array(length).fill(random.next(256));
  }

  #attributes(): t.Attributes {
    const { random } = this;
    const attributes: t.Attributes = {
      mode: random.pick(MODES),
      uid: random.pick(IDS),
      gid: random.pick(IDS),
      mtime: random.pick(this.#options.oldTimes ? TIMES : TIMES.filter((time) => !String(time).startsWith("-"))),
    };
    if (random.next(5) === 0) {
      attributes.xattrs = { [`trusted.${random.pick(["x", "y"])}`]: `value ${random.next(100)}` };
    }
    return attributes;
  }
}

interface Place {
  said: string;
  real: string;
}

function join(directory: string, name: string): string {
  return directory === "" ? name : `${directory}/${name}`;
}

/** The path itself, or one below it. */
function under(path: string, top: string): boolean {
  return path === top || path.startsWith(`${top}/`);
}
