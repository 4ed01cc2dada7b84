/** A TCP server that speaks just enough of PostgreSQL's protocol to misbehave at a chosen point. */

import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext, TLSSocket } from 'node:tls'
import type { IssuedCertificate } from './pki.ts'

const SSL_REQUEST = 80877103

/** One connection, as the server sees it. */
export class Peer {
  readonly #socket: Socket
  #stream: Socket
  #buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.#socket = socket
    this.#stream = socket
    socket.on('error', () => undefined)
  }

  /** Exactly this many bytes. */
  async take(size: number): Promise<Buffer> {
    while (this.#buffer.length < size) {
      const chunk: Buffer | null = this.#stream.read()
      if (chunk !== null) this.#buffer = Buffer.concat([this.#buffer, chunk])
      else if (this.#stream.readableEnded || this.#stream.destroyed) throw new PeerGone()
      else {
        await Promise.race(['readable', 'end', 'close'].map((name) => once(this.#stream, name)))
      }
    }
    const taken = this.#buffer.subarray(0, size)
    this.#buffer = this.#buffer.subarray(size)
    return taken
  }

  /** A message without a type: SSLRequest, StartupMessage, CancelRequest. */
  async first(): Promise<Buffer> {
    const length = (await this.take(4)).readInt32BE()
    return this.take(length - 4)
  }

  /** A message with a type. */
  async message(): Promise<{ type: string; body: Buffer }> {
    const type = (await this.take(1)).toString('latin1')
    const length = (await this.take(4)).readInt32BE()
    return { type, body: await this.take(length - 4) }
  }

  /** Declines requests for TLS until the start-up message arrives. */
  async startup(): Promise<Buffer> {
    for (;;) {
      const body = await this.first()
      if (body.readInt32BE() !== SSL_REQUEST) return body
      this.send(Buffer.from('N'))
    }
  }

  /** Reads a request for TLS and grants it. */
  async tls(certificate: IssuedCertificate, requested: 'asked' | 'direct' = 'asked'): Promise<void> {
    if (requested === 'asked') {
      await this.first()
      this.send(Buffer.from('S'))
    }
    const stream = new TLSSocket(this.#socket, {
      isServer: true,
      secureContext: createSecureContext({ cert: certificate.cert, key: certificate.key }),
    })
    stream.on('error', () => undefined)
    this.#stream = stream
  }

  send(bytes: Buffer): void {
    this.#stream.write(bytes)
  }

  /** Sends the same bytes repeatedly, with back-pressure, until the client closes the connection. */
  async floodWith(bytes: Buffer): Promise<void> {
    const stream = this.#stream
    while (!stream.destroyed) {
      if (stream.write(bytes)) continue
      await new Promise<void>((resolve) => {
        const go = (): void => {
          stream.off('drain', go).off('close', go)
          resolve()
        }
        stream.on('drain', go).on('close', go)
      })
    }
  }

  /** Lets the client in: AuthenticationOk, a key and ReadyForQuery. */
  letIn(): void {
    this.send(Buffer.concat([authentication(0), message('K', int32(4711), int32(99)), message('Z', Buffer.from('I'))]))
  }

  /** Reads and discards further bytes, so that the end of the connection is noticed. */
  drain(): void {
    this.#stream.resume()
  }

  end(): void {
    this.#stream.end()
  }

  reset(): void {
    this.#socket.resetAndDestroy()
  }
}

/** The client disconnected while the script waited for it, which is no error of the script. */
class PeerGone extends Error {}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

export function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(body.length + 4), body])
}

export function authentication(code: number, rest = ''): Buffer {
  return message('R', int32(code), Buffer.from(rest, 'latin1'))
}

/** ErrorResponse, fields by their letters. */
export function errorResponse(fields: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries({ S: 'FATAL', V: 'FATAL', ...fields }).map(([key, value]) => `${key}${value}\0`)
  return message('E', Buffer.from(`${parts.join('')}\0`))
}

export interface FakePostgres extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** Connections accepted so far. */
  readonly accepted: () => number
  /** Resolves when no client is connected; throws when one is still connected after five seconds. */
  readonly deserted: () => Promise<void>
}

/** @param script plays one connection; disposing fails with its error, unless the client disconnected */
export async function startFakePostgres(
  script: (peer: Peer) => Promise<void> | void,
  listen: { host?: string; port?: number } = {},
): Promise<FakePostgres> {
  const sockets = new Set<Socket>()
  const faults: unknown[] = []
  let accepted = 0
  const server = createServer((socket) => {
    accepted++
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    const peer = new Peer(socket)
    Promise.resolve(script(peer))
      .catch((error: unknown) => {
        if (!(error instanceof PeerGone)) faults.push(error)
      })
      .finally(() => peer.drain())
  })
  const host = listen.host ?? '127.0.0.1'
  server.listen(listen.port ?? 0, host)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  return {
    host,
    port: address.port,
    accepted: () => accepted,
    deserted: async () => {
      for (let waited = 0; sockets.size > 0; waited += 10) {
        if (waited > 5000) throw new Error(`${sockets.size} connections are still open.`)
        await sleep(10)
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
      if (faults.length > 0) throw faults[0]
    },
  }
}
