/**
 * An HTTP proxy that forwards and tunnels. It looks names up in a table of its own, so that a request that went past it fails:
 * nothing else knows the names.
 */
import { createServer, type IncomingMessage, request } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

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
