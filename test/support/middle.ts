/** A man in the middle: a TCP relay that can read, cut, delay, alter, repeat and drop the bytes. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** The result for one chunk: the chunks to send on, in order, or the end of the connection. */
export type Tamper = (chunk: Buffer) => readonly Buffer[] | 'cut' | 'dribble' | { readonly last: Buffer }

export interface Middle extends AsyncDisposable {
  readonly port: number
  /** Connections so far. */
  readonly accepted: () => number
  readonly open: () => number
  /** All bytes that clients have sent, of all connections in order. */
  readonly sent: () => Buffer
  /** Applies from now on; default: every chunk passes. */
  toClient: Tamper
  toServer: Tamper
  /** Writes bytes of its own to every client that is connected. */
  inject(bytes: Buffer): void
}

export async function startMiddle(targetPort: number): Promise<Middle> {
  const pass: Tamper = (chunk) => [chunk]
  const sockets = new Set<Socket>()
  const clients = new Set<Socket>()
  const sent: Buffer[] = []
  let accepted = 0
  let open = 0
  const relay = (from: Socket, to: Socket, tamper: () => Tamper): void => {
    let last = Promise.resolve()
    from.on('data', (chunk: Buffer) => {
      const outcome = tamper()(chunk)
      from.pause()
      last = last.then(async () => {
        if (outcome === 'cut') {
          to.write(chunk.subarray(0, chunk.length >> 1), () => {
            from.destroy()
            to.destroy()
          })
          return
        }
        if (typeof outcome === 'object' && 'last' in outcome) {
          // Sends the bytes together with the end.
          to.cork()
          to.end(outcome.last)
          to.uncork()
          from.destroy()
          return
        }
        if (outcome === 'dribble') {
          for (let offset = 0; offset < chunk.length; ) {
            // The first bytes go alone: a receiver must accept a split length.
            const size = offset < 6 ? 1 : 997
            to.write(chunk.subarray(offset, offset + size))
            offset += size
            await sleep(1)
          }
        } else {
          for (const piece of outcome) {
            // One side may have disconnected after the previous piece.
            if (!to.writable) break
            if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')])
          }
        }
        from.resume()
      })
    })
    from.on('end', () => last.then(() => to.end()))
    from.on('error', () => undefined)
    from.on('close', () => last.then(() => to.destroy()))
  }
  const middle: Middle = {
    get port() {
      const address = server.address()
      if (address === null || typeof address === 'string') throw new Error('No port')
      return address.port
    },
    accepted: () => accepted,
    open: () => open,
    sent: () => Buffer.concat(sent),
    toClient: pass,
    toServer: pass,
    inject: (bytes) => {
      for (const client of clients) client.write(bytes)
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  const server = createServer((client) => {
    accepted++
    open++
    const upstream = connect({ host: '127.0.0.1', port: targetPort, noDelay: true })
    client.setNoDelay(true)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    }
    clients.add(client)
    client.once('close', () => {
      open--
      clients.delete(client)
    })
    client.on('data', (chunk: Buffer) => sent.push(chunk))
    relay(client, upstream, () => middle.toServer)
    relay(upstream, client, () => middle.toClient)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return middle
}
