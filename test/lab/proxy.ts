/**
 * An HTTP proxy that forwards and tunnels. It looks names up in a table of its own, so that a request that went past it fails:
 * nothing else knows the names.
 */
import { createServer, type IncomingMessage, request } from "node:http";
import { type AddressInfo, connect, createServer as createSocketServer, type Socket } from "node:net";

export interface ProxyLab extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  url: string;
  /** What it was asked: "GET http://…" or "CONNECT host:port". */
  seen: string[];
  /** Where names lead: `host:port` to a port of 127.0.0.1. */
  names: Record<string, number>;
  /** `Proxy-Authorization` that it asks for. */
  wants?: string;
}

export async function startProxy(names: Record<string, number>): Promise<ProxyLab> {
  const sockets = new Set<Socket>();
  const refused = ({ headers }: IncomingMessage) =>
    lab.wants !== undefined && headers["proxy-authorization"] !== lab.wants;
  const server = createServer((asked, answer) => {
    lab.seen.push(`${asked.method} ${asked.url}`);
    const url = URL.parse(asked.url ?? ""),
      port = url === null ? undefined : lab.names[`${url.hostname}:${url.port || 80}`];
    if (refused(asked)) {
      answer.writeHead(407, { "Proxy-Authenticate": "Basic" }).end();
      return;
    }
    if (url === null || port === undefined) {
      answer.writeHead(502).end();
      return;
    }
    const onward = request({
      host: "127.0.0.1",
      port,
      method: asked.method,
      path: url.pathname + url.search,
      headers: asked.headers,
    });
    onward.on("response", (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers);
      response.pipe(answer);
    });
    onward.on("error", () => answer.destroy());
    asked.pipe(onward);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("connect", (asked: IncomingMessage, socket: Socket, head: Uint8Array) => {
    lab.seen.push(`CONNECT ${asked.url}`);
    const port = lab.names[asked.url ?? ""];
    socket.on("error", () => socket.destroy());
    if (refused(asked)) return socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    if (port === undefined) return socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    const onward = connect(port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.write(head);
      onward.pipe(socket);
      socket.pipe(onward);
    });
    sockets.add(onward);
    onward.on("error", () => socket.destroy());
    onward.on("close", () => sockets.delete(onward));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const lab: ProxyLab = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    names,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return lab;
}

/** A SOCKS5 proxy (RFC 1928) for one host's name, without a login: what it was asked for is in `seen`. */
export async function startSocks(
  names: Record<string, number>,
): Promise<Pick<ProxyLab, "url" | "seen"> & AsyncDisposable> {
  const sockets = new Set<Socket>(), seen: string[] = [];
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  };
  const server = createSocketServer((socket) => {
    keep(socket);
    socket.once("data", () => {
      socket.write(new Uint8Array([5, 0]));
      socket.once("data", (asked: Uint8Array) => {
        // Version, CONNECT, reserved, "a name", its length, the name, the port.
        const length = asked[4] ?? 0, name = new TextDecoder().decode(asked.subarray(5, 5 + length));
        const authority = `${name}:${(asked[5 + length] ?? 0) << 8 | (asked[6 + length] ?? 0)}`,
          port = names[authority];
        seen.push(authority);
        if (port === undefined) return socket.end(new Uint8Array([5, 4, 0, 1, 0, 0, 0, 0, 0, 0]));
        const onward = connect(port, "127.0.0.1", () => {
          socket.write(new Uint8Array([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]));
          onward.pipe(socket);
          socket.pipe(onward);
        });
        keep(onward);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `socks5://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
