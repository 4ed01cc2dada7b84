/** A relay in front of a test's server: it can refuse connections, cut them, or hold all bytes back. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface Gate extends AsyncDisposable {
  readonly port: number
  /** Refuses new connections and cuts the open ones. */
  shut(): Promise<void>
  /** Refuses new connections; the open ones stay. */
  refuse(): void
  /** Accepts connections again, at the same port. */
  open(): Promise<void>
  /** Ends every connection by a TCP reset; new ones are accepted. */
  reset(): void
  /** Holds all bytes back, in both directions and on new connections too. */
  freeze(): void
  thaw(): void
}

export async function startGate(targetPort: number): Promise<Gate> {
  const sockets = new Set<Socket>()
  let frozen = false
  const server = createServer((client) => {
    const target = connect(targetPort, '127.0.0.1')
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(from)
      from.setNoDelay(true)
      from.on('data', (chunk) => {
        if (!to.write(chunk)) from.pause()
      })
      to.on('drain', () => {
        if (!frozen) from.resume()
      })
      from.on('end', () => to.end())
      from.on('error', () => undefined)
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      if (frozen) from.pause()
    }
  })
  const listen = async (port: number): Promise<void> => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const shut = async (): Promise<void> => {
    const closed = server.listening ? once(server.close(), 'close') : undefined
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await listen(0)
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { port } = address
  return {
    port,
    shut,
    refuse: () => void server.close(),
    open: () => listen(port),
    reset() {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    freeze() {
      frozen = true
      for (const socket of sockets) socket.pause()
    },
    thaw() {
      frozen = false
      for (const socket of sockets) socket.resume()
    },
    [Symbol.asyncDispose]: shut,
  }
}
