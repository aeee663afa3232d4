/** IP addresses and networks in text: RFC 4291, section 2.2; RFC 4632, section 3.1. */

/** 4 or 16 bytes; an IPv4 address that is written as an IPv6 one (`::ffff:1.2.3.4`) is the IPv4 address. */
export type Ip = readonly number[];

export interface Network {
  ip: Ip;
  /** Leading bits that count. */
  bits: number;
}

export function parseIp(text: string): Ip | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Ip | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

function parseIpv6(text: string): Ip | undefined {
  // The URL parser knows all ways to write one, and gives the one in which only "::" is left to undo.
  if (!/^[0-9A-Fa-f:.]+$/.test(text)) return undefined;
  const host = URL.parse(`http://[${text}]/`)?.hostname.slice(1, -1);
  if (host === undefined) return undefined;
  const [head = "", tail] = host.split("::");
  const words = (part: string | undefined) => part === undefined || part === "" ? [] : part.split(":");
  const before = words(head), after = words(tail);
  const zeros = tail === undefined ? [] : Array<string>(8 - before.length - after.length).fill("0");
  const bytes = [...before, ...zeros, ...after].flatMap((word) => {
    const value = parseInt(word, 16);
    return [value >> 8, value & 255];
  });
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return mapped ? bytes.slice(12) : bytes;
}

/** `10.0.0.0/8`, `fd00::/8`. */
export function parseNetwork(text: string): Network | undefined {
  const [address = "", length] = text.split("/");
  if (length === undefined || !/^[0-9]{1,3}$/.test(length)) return undefined;
  const ip = parseIp(address), bits = Number(length);
  return ip === undefined || bits > ip.length * 8 ? undefined : { ip, bits };
}

export function inNetwork(ip: Ip, network: Network): boolean {
  if (ip.length !== network.ip.length) return false;
  for (let i = 0, left = network.bits; left > 0; i++, left -= 8) {
    const mask = left >= 8 ? 255 : 255 << (8 - left) & 255;
    if (((ip[i] ?? 0) & mask) !== ((network.ip[i] ?? 0) & mask)) return false;
  }
  return true;
}

export function isLoopbackIp(ip: Ip): boolean {
  return ip.length === 4 ? ip[0] === 127 : ip.every((byte, i) => byte === (i === 15 ? 1 : 0));
}
