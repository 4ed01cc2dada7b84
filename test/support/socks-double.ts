import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface SocksDoubleOptions {
  /** Requires this login (RFC 1929). */
  readonly login?: { readonly user: string; readonly password: string }
  /** The reply to a request (RFC 1928, 6). Default 0: granted. */
  readonly reply?: number
  /** Bytes after the reply, in the same piece. */
  readonly glued?: string
  /** Sends this in place of SOCKS, or nothing at all. */
  readonly says?: Buffer | 'nothing'
  readonly hosts?: Readonly<Record<string, string>>
}

/** A SOCKS5 proxy (RFC 1928) on a free loopback port. */
export interface SocksDouble extends AsyncDisposable {
  readonly port: number
  /** The requested targets: a host name as it arrived, or an address. */
  readonly targets: readonly string[]
  readonly open: number
}

export async function startSocksDouble(options: SocksDoubleOptions = {}): Promise<SocksDouble> {
  const targets: string[] = []
  const sockets = new Set<Socket>()
  const track = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => sockets.delete(socket))
  }
  const server = createServer((client) => {
    track(client)
    converse(client, options, targets, track).catch(() => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    targets,
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

async function converse(
  client: Socket,
  options: SocksDoubleOptions,
  targets: string[],
  track: (socket: Socket) => void,
): Promise<void> {
  const { login, reply = 0, glued = '', says, hosts = {} } = options
  if (says !== undefined) {
    if (says !== 'nothing') client.write(says)
    client.resume()
    return
  }
  const [, methods = 0] = await take(client, 2)
  const offered = await take(client, methods)
  const method = login === undefined ? 0 : 2
  if (!offered.includes(method)) {
    client.end(Buffer.from([5, 0xff]))
    return
  }
  client.write(Buffer.from([5, method]))
  if (login !== undefined) {
    const [, userLength = 0] = await take(client, 2)
    const user = (await take(client, userLength)).toString()
    const [passwordLength = 0] = await take(client, 1)
    const password = (await take(client, passwordLength)).toString()
    const right = user === login.user && password === login.password
    client.write(Buffer.from([1, right ? 0 : 1]))
    if (!right) return
  }
  const [, , , kind = 0] = await take(client, 4)
  const host = await readHost(client, kind)
  const port = (await take(client, 2)).readUInt16BE()
  targets.push(`${host}:${port}`)
  const answer = Buffer.concat([Buffer.from([5, reply, 0, 1, 127, 0, 0, 1, 0, 0]), Buffer.from(glued)])
  if (reply !== 0 || glued !== '') {
    client.write(answer)
    client.resume()
    return
  }
  const upstream = connect({ host: hosts[host] ?? host, port })
  track(upstream)
  await once(upstream, 'connect')
  client.write(answer)
  client.pipe(upstream).pipe(client)
  client.once('close', () => upstream.destroy())
  upstream.once('close', () => client.destroy())
}

async function readHost(client: Socket, kind: number): Promise<string> {
  if (kind === 1) return [...(await take(client, 4))].join('.')
  if (kind === 4) return (await take(client, 16)).toString('hex')
  const [length = 0] = await take(client, 1)
  return (await take(client, length)).toString()
}

async function take(client: Socket, size: number): Promise<Buffer> {
  for (;;) {
    const chunk: Buffer | null = client.read(size)
    if (chunk !== null && chunk.length === size) return chunk
    if (client.readableEnded || client.destroyed) throw new Error('closed')
    const over = new AbortController()
    const { signal } = over
    await Promise.race(['readable', 'end', 'close'].map((event) => once(client, event, { signal }))).finally(() =>
      over.abort(),
    )
  }
}
