import type { Socket } from 'node:net'
import { onAbort } from '../../../abort.ts'
import { isError } from '../../../any-error.ts'
import { PoolsmithError } from '../../../errors.ts'
import { loadPackage } from '../../../optional-package.ts'
import { type Lookup, resolveHost } from '../socket.ts'
import type { ProxyAddress } from './address.ts'
import { inProxyPhase, type ProxyRoute, proxyError } from './errors.ts'
import type { ProxyServer } from './server-connection.ts'
import type { OpenTunnel, TunnelOptions } from './tunnel.ts'

/** The time limits are ours; the package's own must never be the first to end. */
const NEVER_MILLIS = 0x7fff_ffff

/**
 * Opens a tunnel through a SOCKS5 proxy (RFC 1928), with user name and password where there are some (RFC 1929).
 * Under `socks5h` the proxy resolves the host name, under `socks5` we do.
 *
 * @throws PoolsmithError PACKAGE_MISSING, PROXY_…; the signal's reason
 */
export async function openSocksTunnel(
  server: ProxyServer,
  address: ProxyAddress,
  target: { readonly host: string; readonly port: number },
  route: ProxyRoute,
  options: TunnelOptions & { readonly lookup: Lookup },
): Promise<OpenTunnel> {
  const { signal, lookup } = options
  const { SocksClient } = await loadPackage('socks', () => import('socks'), `proxy=${address.scheme}://`)
  const host = address.scheme === 'socks5h' ? target.host : await resolved(target.host, lookup, route, signal)
  const { stream } = await server.connect(route, options)
  using _ = onAbort(signal, () => stream.destroy())
  const { user, password } = address
  try {
    await SocksClient.createConnection({
      command: 'connect',
      proxy: {
        host: address.host,
        port: address.port,
        type: 5,
        ...(user === undefined ? {} : { userId: user, password: password?.reveal() ?? '' }),
      },
      destination: { host, port: target.port },
      existing_socket: stream,
      timeout: NEVER_MILLIS,
    })
    await calmed(stream)
    signal.throwIfAborted()
    return {
      stream,
      info: {
        url: route.proxy,
        ...(user === undefined ? { authentication: 'none' } : { authentication: 'basic', identity: user }),
      },
    }
  } catch (error) {
    stream.destroy()
    signal.throwIfAborted()
    throw explain(error, route, user)
  }
}

async function resolved(host: string, lookup: Lookup, route: ProxyRoute, signal: AbortSignal): Promise<string> {
  try {
    const [address = host] = await resolveHost(host, lookup, signal)
    return address
  } catch (error) {
    if (!(error instanceof PoolsmithError)) throw error
    throw inProxyPhase(error, route, 'Write socks5h:// to have the proxy resolve the name.')
  }
}

/**
 * The package lets the stream flow a moment after it has handed it over, with the bytes that came behind the proxy's last
 * message. These bytes belong to the tunnel, and are put back for the next reader.
 */
async function calmed(stream: Socket): Promise<void> {
  const early: Buffer[] = []
  const keep = (chunk: Buffer): void => {
    early.push(chunk)
  }
  stream.on('data', keep)
  await new Promise((resolve) => setImmediate(resolve))
  stream.pause()
  stream.off('data', keep)
  if (early.length > 0) stream.unshift(Buffer.concat(early))
}

/** The package's errors hold its options, and with them the password: only their words are taken. */
function explain(error: unknown, route: ProxyRoute, user: string | undefined): unknown {
  if (error instanceof PoolsmithError || !isError(error)) return error
  const { proxy, target } = route
  const words = error.message
  if (/Authentication failed/i.test(words)) {
    return proxyError(
      'PROXY_AUTH_REFUSED',
      `The proxy ${proxy} refuses the login ${user === undefined ? 'without a user name' : `of ${user}`}.`,
      route,
      {
        hint: 'Check proxy_user and proxy_password.',
      },
    )
  }
  if (/auth/i.test(words)) {
    return user === undefined
      ? proxyError('PROXY_AUTH_REQUIRED', `The proxy ${proxy} asks for a login.`, route, {
          hint: 'Set proxy_user and proxy_password.',
        })
      : proxyError('PROXY_AUTH_UNSUPPORTED', `The proxy ${proxy} takes no user name and password.`, route)
  }
  const reason = /rejected connection - (\w+)/i.exec(words)?.[1]
  if (reason === 'NotAllowed') {
    return proxyError('PROXY_FORBIDDEN', `The proxy ${proxy} forbids ${target}.`, route, {
      hint: 'Have the proxy allow this host and port.',
    })
  }
  if (reason !== undefined && /Unreachable|Refused|TTLExpired/.test(reason)) {
    return proxyError('PROXY_TARGET_UNREACHABLE', `The proxy ${proxy} cannot reach ${target} (${reason}).`, route, {
      hint: 'Check host and port of the connection, as the proxy sees them.',
      transient: true,
      details: { reason },
    })
  }
  if (reason !== undefined) {
    return proxyError('PROXY_FAILED', `The proxy ${proxy} gives no tunnel to ${target} (${reason}).`, route, {
      hint: "The proxy's log says why.",
      details: { reason },
    })
  }
  if (/closed/i.test(words)) {
    return proxyError('PROXY_CLOSED', `The proxy ${proxy} closed the connection without an answer.`, route, {
      hint: "The proxy's log says why.",
      transient: true,
    })
  }
  return proxyError('PROXY_PROTOCOL', `The answer of ${proxy} is damaged, or not that of a SOCKS5 proxy.`, route, {
    hint: 'Check the host, port and scheme of `proxy`.',
  })
}
