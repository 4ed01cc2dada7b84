import { onAbort } from '../../../abort.ts'
import { parseChallenges } from '../../../kerberos/http-challenges.ts'
import { StreamClosed, Wire } from '../wire.ts'
import { type ProxyRoute, proxyError, statusError } from './errors.ts'
import { type HttpAnswer, NotHttp, readAnswer, skipBody } from './http-answer.ts'
import type { ProxyLogin } from './login.ts'
import type { ProxyServer, ServerConnection } from './server-connection.ts'
import type { OpenTunnel, TunnelOptions } from './tunnel.ts'

/** Kerberos needs one or two; the limit ends an exchange with a proxy that never stops asking. */
const MAX_LEGS = 8

/**
 * Opens a tunnel by CONNECT (RFC 9110, 9.3.6). The proxy may answer 407 several times, and may keep the connection
 * open in between or not.
 *
 * @throws PoolsmithError PROXY_…; the signal's reason
 */
export async function openHttpTunnel(
  server: ProxyServer,
  login: ProxyLogin,
  route: ProxyRoute,
  options: TunnelOptions,
): Promise<OpenTunnel> {
  const { signal } = options
  let connection: Leg | undefined
  const leave = (): void => {
    connection?.wire[Symbol.dispose]()
    connection?.stream.destroy()
    connection = undefined
  }
  // The wire stays: it wakes the reader.
  using _ = onAbort(signal, () => connection?.stream.destroy())
  try {
    let authorization = await login.first()
    for (let leg = 1; leg <= MAX_LEGS; leg++) {
      const reused = connection !== undefined
      connection ??= await begin(server, route, options)
      const answer = await ask(connection, route, authorization, reused)
      if (answer === undefined) {
        // A connection that was to be kept and was not: the same request again over a new one.
        leave()
        continue
      }
      if (answer.status < 300) {
        const proof = parseChallenges([...answer.all('proxy-authenticate'), ...answer.all('proxy-authentication-info')])
        const info = await login.finish(proof)
        signal.throwIfAborted()
        const { stream, tls, wire } = connection
        wire[Symbol.dispose]()
        return { stream, info: { url: route.proxy, ...info, ...(tls === undefined ? {} : { tls }) } }
      }
      if (answer.status !== 407) throw statusError(answer.status, route)
      authorization = await login.next(parseChallenges(answer.all('proxy-authenticate')))
      if (!(await canGoOn(connection.wire, answer))) leave()
    }
    throw proxyError(
      'PROXY_AUTH_REFUSED',
      `The proxy ${route.proxy} asked for a login ${MAX_LEGS} times over.`,
      route,
      {
        hint: "The proxy's log says what it did not like.",
      },
    )
  } catch (error) {
    leave()
    signal.throwIfAborted()
    throw explain(error, route)
  }
}

interface Leg extends ServerConnection {
  readonly wire: Wire
}

async function begin(server: ProxyServer, route: ProxyRoute, options: TunnelOptions): Promise<Leg> {
  const connection = await server.connect(route, options)
  return { ...connection, wire: new Wire(connection.stream, options.signal) }
}

async function canGoOn(wire: Wire, answer: HttpAnswer): Promise<boolean> {
  try {
    return await skipBody(wire, answer)
  } catch (error) {
    if (error instanceof StreamClosed) return false
    throw error
  }
}

/** One request and the head of its answer; undefined when a reused connection had already been closed. */
async function ask(
  { stream, wire }: Leg,
  route: ProxyRoute,
  authorization: string | undefined,
  reused: boolean,
): Promise<HttpAnswer | undefined> {
  const received = stream.bytesRead
  const lines = [
    `CONNECT ${route.target} HTTP/1.1`,
    `Host: ${route.target}`,
    ...(authorization === undefined ? [] : [`Proxy-Authorization: ${authorization}`]),
    // Older proxies close between the legs of a login without it.
    'Proxy-Connection: keep-alive',
    'User-Agent: poolsmith',
  ]
  wire.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'))
  try {
    return await readAnswer(wire)
  } catch (error) {
    if (reused && error instanceof StreamClosed && stream.bytesRead === received) return undefined
    throw error
  }
}

function explain(error: unknown, route: ProxyRoute): unknown {
  if (error instanceof NotHttp) {
    return proxyError(
      'PROXY_PROTOCOL',
      `What answers at ${route.proxy} is no HTTP proxy, or is damaged: ${error.message}.`,
      route,
      {
        hint: 'Check the host, port and scheme of `proxy`.',
      },
    )
  }
  if (error instanceof StreamClosed) {
    return proxyError('PROXY_CLOSED', `The proxy ${route.proxy} closed the connection without an answer.`, route, {
      hint: "The proxy's log says why; one that wants TLS is https:// in `proxy`.",
      transient: true,
      cause: error,
    })
  }
  return error
}
