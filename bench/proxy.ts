/**
 * The cost of a proxy, compared with a plain TCP relay to the same server: the throughput of a large select through the
 * tunnel, and the time to connect, counted in round trips that are made long enough to count.
 */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { gssAcceptor } from '../test/support/gss-acceptor.ts'
import { enterRealm, startKdc } from '../test/support/kdc.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { openSession, passwordCredential } from '../test/support/postgres-driver.ts'
import { type ProxiedDriver, proxiedDriver } from '../test/support/proxied-postgres.ts'
import {
  ESTABLISHED,
  type ProxyAnswer,
  type ProxyRequest,
  relay,
  startProxyDouble,
} from '../test/support/proxy-double.ts'
import { compare, type Result } from './measure.ts'

const ROWS = 150_000
const SELECT_ROUNDS = 11
const CONNECT_ROUNDS = 9
/** One way. On a loopback nothing else takes nearly as long. */
const DELAY_MILLIS = 25
const ROUND_TRIP_MILLIS = 2 * DELAY_MILLIS
const PASSWORD = 'secret'

interface Relay extends AsyncDisposable {
  readonly port: number
}

/** The peer of the tunnel: the same forwarding by the same code, without a CONNECT request. */
async function startRelay(to: number, delayMillis = 0): Promise<Relay> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(to, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
      socket.once('close', () => sockets.delete(socket))
    }
    relay(client, upstream, { delayMillis })
    relay(upstream, client, { delayMillis })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

async function millisOf(run: () => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  await run()
  return performance.now() - begin
}

async function connectMillis({ driver }: ProxiedDriver): Promise<number> {
  const begin = performance.now()
  const session = await openSession(driver, passwordCredential(PASSWORD))
  const millis = performance.now() - begin
  await session[Symbol.asyncDispose]()
  return millis
}

export async function run(): Promise<Result[]> {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await startPostgres())
  await server.sql(`create role bench login password '${PASSWORD}'`)
  const kdc = stack.use(await startKdc())
  enterRealm(kdc)
  await kdc.addPrincipal('bench', { password: PASSWORD })
  await kdc.addPrincipal('HTTP/localhost')
  const keytab = await kdc.keytab('HTTP/localhost')
  const cache = `FILE:${kdc.path('krb5cc_bench')}`
  await kdc.kinit('bench', cache, { password: PASSWORD })

  const driver = (port: number, extra: Readonly<Record<string, unknown>> = {}): ProxiedDriver =>
    proxiedDriver({ host: '127.0.0.1', port, login: 'bench', password: PASSWORD, extra })

  const select = async (target: ProxiedDriver) => {
    const session = stack.use(await openSession(target.driver, passwordCredential(PASSWORD)))
    const text = `select g, repeat(md5(g::text), 8) as text from generate_series(1, ${ROWS}) g`
    return () => millisOf(() => session.client.query({ text, rowMode: 'array' }))
  }
  const tunnel = stack.use(await startProxyDouble())
  const plain = stack.use(await startRelay(server.port))
  const throughput = await compare({
    name: `a select of ${Math.round((ROWS * 256) / 1e6)} MB through a tunnel, against a TCP relay (throughput 0.95)`,
    unit: 'ms',
    bound: Number((1 / 0.95).toFixed(3)),
    rounds: SELECT_ROUNDS,
    ours: await select(driver(server.port, { proxy: `http://127.0.0.1:${tunnel.port}` })),
    peer: await select(driver(plain.port)),
  })

  const answer = async ({ headers }: ProxyRequest): Promise<ProxyAnswer> => {
    const [scheme, token = ''] = (headers['proxy-authorization'] ?? '').split(' ')
    if (scheme !== 'Negotiate') return { next: 'tunnel' }
    const acceptor = gssAcceptor(keytab)
    const { output } = await acceptor.step(Buffer.from(token, 'base64'))
    acceptor.close()
    const proof = `Proxy-Authenticate: Negotiate ${output?.toString('base64')}`
    return { send: ESTABLISHED.replace('\r\n\r\n', `\r\n${proof}\r\n\r\n`), next: 'tunnel' }
  }
  const farTunnel = stack.use(await startProxyDouble({ delayMillis: DELAY_MILLIS, answer }))
  const farPlain = stack.use(await startRelay(server.port, DELAY_MILLIS))
  const login = { proxy: `http://127.0.0.1:${farTunnel.port}` }
  const kerberos = {
    proxy: `http://localhost:${farTunnel.port}`,
    proxy_auth: 'kerberos',
    proxy_kerberos_ccache: cache,
    proxy_kerberos_mutual_auth: 'REQUIRED',
  }
  const results = [throughput]
  for (const [auth, extra, allowed] of [
    ['none', login, 1],
    ['basic', { ...login, proxy_user: 'me', proxy_password: PASSWORD }, 1],
    ['kerberos', kerberos, 2],
  ] as const) {
    const ours = driver(server.port, extra)
    const peer = driver(farPlain.port)
    results.push(
      await compare({
        name: `connect with proxy_auth=${auth}, against a TCP relay and ${allowed} x ${ROUND_TRIP_MILLIS} ms of round trip`,
        unit: 'ms',
        // 5 % for late timers; one extra round trip would be 20 %.
        bound: 1.05,
        rounds: CONNECT_ROUNDS,
        ours: () => connectMillis(ours),
        peer: async () => (await connectMillis(peer)) + allowed * ROUND_TRIP_MILLIS,
      }),
    )
  }
  return results
}
