import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'

/** A request for a tunnel, as it arrived. */
export interface ProxyRequest {
  readonly target: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The numbers of its connection and of the request on that connection, from 1. */
  readonly connection: number
  readonly leg: number
}

/** The double's response to a request. */
export interface ProxyAnswer {
  /** Default: the head of a 200 response under `tunnel`, else nothing. */
  readonly send?: string | Buffer
  /** `keep`: waits for the next request. `hang`: reads nothing more. */
  readonly next: 'tunnel' | 'keep' | 'close' | 'hang'
}

export interface ProxyDoubleOptions {
  /** Default: a tunnel for every client. */
  readonly answer?: (request: ProxyRequest) => ProxyAnswer | Promise<ProxyAnswer>
  /** PEM texts: the double is an https:// proxy. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Names that it resolves, each to a host, or to a host and port; it uses others as they are. */
  readonly hosts?: Readonly<Record<string, string>>
  /** The delay of each piece that it sends or passes on, in each direction. Default 0. */
  readonly delayMillis?: number
}

/** A proxy on a free loopback port that does exactly what a test says. */
export interface ProxyDouble extends AsyncDisposable {
  readonly port: number
  readonly requests: readonly ProxyRequest[]
  /** Connections that it has accepted. */
  readonly connections: number
  /** Connections that are still open. */
  readonly open: number
}

export const ESTABLISHED = 'HTTP/1.1 200 Connection established\r\n\r\n'

/** A response with a body, as proxies send it. */
export function page(status: string, headers: readonly string[] = [], body = '<html>no</html>'): string {
  return [
    `HTTP/1.1 ${status}`,
    'Content-Type: text/html',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
    '',
    body,
  ].join('\r\n')
}

export async function startProxyDouble(options: ProxyDoubleOptions = {}): Promise<ProxyDouble> {
  const { answer = (): ProxyAnswer => ({ next: 'tunnel' }), hosts = {} } = options
  const requests: ProxyRequest[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const serve = (client: Socket): void => {
    const connection = ++connections
    track(sockets, client)
    converse(client, connection).catch(() => client.destroy())
  }
  const converse = async (client: Socket, connection: number): Promise<void> => {
    for (let leg = 1; ; leg++) {
      const head = await readHead(client)
      if (head === undefined) return
      const request: ProxyRequest = { ...parseHead(head), connection, leg }
      requests.push(request)
      const { send, next } = await answer(request)
      if (next === 'tunnel') {
        const upstream = await reach(request.target, hosts)
        track(sockets, upstream)
        await delayed(options)
        client.write(send ?? ESTABLISHED)
        relay(client, upstream, options)
        relay(upstream, client, options)
        return
      }
      await delayed(options)
      if (send !== undefined) client.write(send)
      if (next === 'close') client.end()
      if (next === 'keep') continue
      // Reading goes on so that the end of the other side is noticed.
      client.resume()
      return
    }
  }
  const server: Server = options.tls === undefined ? createServer(serve) : createTlsServer(options.tls, serve)
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    get connections() {
      return connections
    },
    get open() {
      return sockets.size
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function track(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket)
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.once('close', () => sockets.delete(socket))
}

async function delayed({ delayMillis = 0 }: ProxyDoubleOptions): Promise<void> {
  // The request and the reply are both delayed.
  if (delayMillis > 0) await sleep(2 * delayMillis)
}

async function readHead(client: Socket): Promise<string | undefined> {
  let bytes = Buffer.alloc(0)
  for (;;) {
    const chunk: Buffer | null = client.read()
    if (chunk !== null) bytes = Buffer.concat([bytes, chunk])
    const end = bytes.indexOf('\r\n\r\n')
    if (end !== -1) {
      if (bytes.length > end + 4) client.unshift(bytes.subarray(end + 4))
      return bytes.subarray(0, end).toString('latin1')
    }
    if (client.readableEnded || client.destroyed) return undefined
    const over = new AbortController()
    const { signal } = over
    await Promise.race(['readable', 'end', 'close'].map((event) => once(client, event, { signal }))).finally(() =>
      over.abort(),
    )
  }
}

function parseHead(head: string): Pick<ProxyRequest, 'target' | 'headers'> {
  const [first = '', ...lines] = head.split('\r\n')
  const match = /^CONNECT (\S+) HTTP\/1\.[01]$/.exec(first)
  if (match?.[1] === undefined) throw new Error(`not a request for a tunnel: ${first}`)
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  })
  return { target: match[1], headers: Object.fromEntries(headers) }
}

async function reach(target: string, hosts: Readonly<Record<string, string>>): Promise<Socket> {
  const colon = target.lastIndexOf(':')
  const name = target.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  const [host = name, port = target.slice(colon + 1)] = hosts[name]?.split(':') ?? []
  const upstream = connect({ host, port: Number(port) })
  await once(upstream, 'connect')
  return upstream
}

/** Passes bytes on in order after the delay, and then the end. */
export function relay(from: Socket, to: Socket, { delayMillis = 0 }: Pick<ProxyDoubleOptions, 'delayMillis'>): void {
  if (delayMillis === 0) {
    from.pipe(to)
  } else {
    from.on('data', (chunk) => void setTimeout(() => to.writable && to.write(chunk), delayMillis))
    from.on('end', () => void setTimeout(() => to.end(), delayMillis))
  }
  from.once('close', () => setTimeout(() => to.destroy(), delayMillis))
}
