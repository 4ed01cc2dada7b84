/** A man in the middle of TLS: it ends the client's TLS with its own certificate and opens its own to the server. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createSecureContext, TLSSocket, connect as tlsConnect } from 'node:tls'
import type { IssuedCertificate } from './pki.ts'

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

export interface TlsMiddle extends AsyncDisposable {
  readonly port: number
  /** Connections so far. */
  readonly accepted: () => number
}

export interface TlsMiddleOptions {
  readonly certificate: IssuedCertificate
  /** Alters the decrypted chunks from the server. */
  readonly toClient?: (chunk: Buffer) => Buffer
}

/** Relays to a PostgreSQL server that speaks TLS. */
export async function startTlsMiddle(targetPort: number, options: TlsMiddleOptions): Promise<TlsMiddle> {
  const { certificate, toClient = (chunk) => chunk } = options
  const sockets = new Set<Socket>()
  let accepted = 0
  const keep = <Kind extends Socket>(socket: Kind): Kind => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
    return socket
  }
  const relay = async (client: Socket): Promise<void> => {
    await once(client, 'data')
    client.write('S')
    const inner = keep(
      new TLSSocket(client, {
        isServer: true,
        secureContext: createSecureContext({ cert: certificate.cert, key: certificate.key }),
        ALPNProtocols: ['postgresql'],
      }),
    )
    const upstream = keep(connect(targetPort, '127.0.0.1'))
    upstream.write(SSL_REQUEST)
    await once(upstream, 'data')
    const outer = keep(tlsConnect({ socket: upstream, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] }))
    inner.pipe(outer)
    outer.on('data', (chunk: Buffer) => inner.write(toClient(chunk)))
    outer.on('end', () => inner.end())
    outer.on('close', () => inner.destroy())
    inner.on('close', () => outer.destroy())
  }
  const server = createServer((client) => {
    accepted++
    keep(client)
    relay(client).catch(() => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  return {
    port: address.port,
    accepted: () => accepted,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
