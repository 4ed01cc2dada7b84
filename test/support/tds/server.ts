/**
 * A test double of SQL Server, written from MS-TDS. It is not SQL Server: it speaks the protocol, verifies logins
 * (SQL logins, JWT access tokens, Kerberos by a keytab), and runs the statements on a real PostgreSQL after a small
 * translation. Only the tests use it.
 */

import { once } from 'node:events'
import { createServer } from 'node:net'
import { Faults } from './faults.ts'
import { logIn } from './login.ts'
import type { Journal, TdsServerOptions } from './options.ts'
import { Transport } from './packets.ts'
import { Connected, type Replays, Session } from './session.ts'
import { multiplex } from './smp.ts'
import { LoginEnded } from './strike.ts'

export interface TdsServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly faults: Faults
  readonly journal: Journal
  /** The open sessions. */
  sessions(): readonly { readonly spid: number; readonly login: string; kill(): void }[]
  /** Errors inside the double itself; they make a test's result worthless. */
  readonly complaints: unknown[]
  stop(): Promise<void>
}

export async function startTdsServer(given: TdsServerOptions): Promise<TdsServer> {
  // A login that changes its password changes it on this server alone.
  const options = { ...given, logins: { ...given.logins } }
  const faults = new Faults()
  const journal: Journal = { logins: [], requests: [], declarations: [], resets: 0, attentions: 0, ignored: 0 }
  const replays: Replays = new Map()
  const sessions = new Map<number, { readonly spid: number; readonly login: string; kill(): void }>()
  const running = new Set<Promise<void>>()
  const transports = new Set<Transport>()
  const complaints: unknown[] = []
  let spids = 50

  const server = createServer((socket) => {
    socket.setNoDelay(true)
    const transport = new Transport(socket)
    transports.add(transport)
    const spid = ++spids
    const serve = async (): Promise<void> => {
      try {
        const who = await logIn(transport, options, faults, journal, spid, () => socket.destroy())
        const kill = (): void => void socket.destroy()
        const connected = new Connected(who, { spid, options, faults, journal, kill })
        sessions.set(spid, { spid, login: who.login, kill })
        const run = (over: Transport): Promise<void> =>
          new Session(over, connected, options, faults, journal, replays).run()
        try {
          await (who.mars ? multiplex(transport, (inside) => run(transport.within(inside))) : run(transport))
        } finally {
          await connected.batches.backend.close()
        }
      } catch (error) {
        if (!(error instanceof LoginEnded) && !transport.closed) complaints.push(error)
      } finally {
        sessions.delete(spid)
        transports.delete(transport)
        if (!transport.ending) socket.destroy()
      }
    }
    const done = serve()
    running.add(done)
    done.finally(() => running.delete(done))
  })
  const { host = '127.0.0.1', port = 0 } = options.listen ?? {}
  server.listen(port, host)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')

  const stop = async (): Promise<void> => {
    const closed = once(server, 'close')
    server.close()
    for (const transport of transports) transport.socket.destroy()
    await Promise.all([closed, ...running])
  }
  return {
    host,
    port: address.port,
    faults,
    journal,
    sessions: () => [...sessions.values()],
    complaints,
    stop,
    [Symbol.asyncDispose]: () => (server.listening ? stop() : Promise.resolve()),
  }
}
