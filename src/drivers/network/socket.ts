import { lookup as dnsLookup } from 'node:dns/promises'
import { closeSync, openSync } from 'node:fs'
import { isIP, type Socket } from 'node:net'
import { devNull } from 'node:os'
import { onAbort, orAbort } from '../../abort.ts'
import { errorCode } from '../../any-error.ts'
import { PoolsmithError, type PoolsmithErrorOptions } from '../../errors.ts'
import { connectReadingInPlace } from './read-in-place.ts'

/** One place to connect to, after name resolution. */
export type Endpoint =
  | { readonly kind: 'tcp'; readonly address: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

/** `127.0.0.1:5432`, `[::1]:5432` or the path of a Unix socket. */
export function showEndpoint(endpoint: Endpoint): string {
  if (endpoint.kind === 'unix') return endpoint.path
  return isIP(endpoint.address) === 6
    ? `[${endpoint.address}]:${endpoint.port}`
    : `${endpoint.address}:${endpoint.port}`
}

/** `127.0.0.1`, or the path of a Unix socket. */
export function addressOf(endpoint: Endpoint): string {
  return endpoint.kind === 'unix' ? endpoint.path : endpoint.address
}

/** Our end of a TCP connection, as {@link showEndpoint} has it; undefined for a Unix socket. */
export function ownEnd({ localAddress: address, localPort: port }: Socket): string | undefined {
  return address === undefined || port === undefined ? undefined : showEndpoint({ kind: 'tcp', address, port })
}

/** Resolves a host name to all of its addresses, in the resolver's order. Replaced in tests. */
export type Lookup = (host: string) => Promise<readonly string[]>

/** The system's resolver (getaddrinfo): /etc/hosts and nsswitch count, as they do for psql. */
export const systemLookup: Lookup = async (host) => {
  const found = await dnsLookup(host, { all: true, order: 'verbatim' })
  return found.map((entry) => entry.address)
}

/**
 * The addresses of a host; an IP address is its own.
 *
 * @throws PoolsmithError DNS_NOT_FOUND, DNS_FAILED; the signal's reason when it is aborted. getaddrinfo cannot be
 *   interrupted: after an abort its answer is dropped.
 */
export async function resolveHost(host: string, lookup: Lookup, signal: AbortSignal): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host]
  try {
    const addresses = await orAbort(lookup(host), signal)
    if (addresses.length > 0) return addresses
  } catch (cause) {
    if (signal.aborted) throw signal.reason
    const code = errorCode(cause)
    if (outOfFiles()) throw tooManyFiles('dns', host, cause)
    if (code !== 'ENOTFOUND' && code !== 'ENODATA') {
      throw new PoolsmithError(`The name ${host} could not be resolved (${code ?? String(cause)}).`, {
        code: 'DNS_FAILED',
        phase: 'dns',
        transient: true,
        hint: 'The name server did not answer properly; check the resolver of this machine.',
        details: { host },
        cause,
      })
    }
  }
  throw new PoolsmithError(`The host name ${host} is not known.`, {
    code: 'DNS_NOT_FOUND',
    phase: 'dns',
    hint: 'Check the spelling of the host, and whether this machine may resolve names of that network.',
    details: { host },
  })
}

export interface ConnectOptions {
  readonly signal: AbortSignal
  /** TCP keep-alive: idle time before the first probe. When undefined, a dead peer is not detected. */
  readonly keepAliveIdleMillis?: number | undefined
}

/**
 * Opens a socket to one endpoint.
 *
 * The socket carries a listener for `error` from the start and for ever. A reader learns of the end by `close`
 * and `errored`, and an error that comes between two owners does not end the process.
 *
 * @throws PoolsmithError CONNECT_REFUSED, CONNECT_UNREACHABLE, SOCKET_NOT_FOUND, CONNECT_FAILED; the signal's reason
 */
export async function connectSocket(endpoint: Endpoint, options: ConnectOptions): Promise<Socket> {
  const { signal, keepAliveIdleMillis } = options
  signal.throwIfAborted()
  const socket = connectReadingInPlace(
    endpoint.kind === 'unix'
      ? { path: endpoint.path }
      : {
          host: endpoint.address,
          port: endpoint.port,
          noDelay: true,
          ...(keepAliveIdleMillis === undefined ? {} : { keepAlive: true, keepAliveInitialDelay: keepAliveIdleMillis }),
        },
  )
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  using _ = onAbort(signal, () => {
    socket.destroy()
    reject(signal.reason)
  })
  const fail = (cause: Error): void => reject(connectError(endpoint, cause))
  // The one that stays is added first, and knows nothing: what it knew would live as long as the session.
  socket.on('error', heard).on('error', fail)
  socket.once('connect', resolve)
  try {
    await promise
    return socket
  } finally {
    socket.off('connect', resolve).off('error', fail)
  }
}

function heard(): void {
  // The end of the socket is heard by its reader, as `close` and `errored`.
}

/** A name cannot be resolved without a file or socket; the resolver then reports the name as unknown. */
function outOfFiles(): boolean {
  try {
    closeSync(openSync(devNull, 'r'))
    return false
  } catch (error) {
    const code = errorCode(error)
    return code === 'EMFILE' || code === 'ENFILE'
  }
}

function tooManyFiles(phase: 'dns' | 'connect', peer: string, cause: unknown): PoolsmithError {
  return new PoolsmithError(`This process has no file descriptor left for a connection to ${peer}.`, {
    code: 'CONNECT_FAILED',
    phase,
    transient: true,
    hint: 'Find what leaves files or sockets open (`ls /proc/PID/fd`), or raise the limit (`ulimit -n`, LimitNOFILE=).',
    details: { peer },
    cause,
  })
}

function unreachable(peer: string, code: string, base: Omit<PoolsmithErrorOptions, 'code'>): PoolsmithError {
  return new PoolsmithError(`There is no way from here to ${peer} (${code}).`, {
    ...base,
    code: 'CONNECT_UNREACHABLE',
    hint: 'Check the network, VPN and routes of this machine.',
  })
}

function connectError(endpoint: Endpoint, cause: Error): PoolsmithError {
  const peer = showEndpoint(endpoint)
  const code = errorCode(cause)
  const base = { phase: 'connect', transient: true, details: { peer }, cause } as const
  switch (code) {
    case 'ECONNREFUSED':
      return new PoolsmithError(`Nothing accepts connections at ${peer}.`, {
        ...base,
        code: 'CONNECT_REFUSED',
        hint: 'Check that the server runs, listens on this address and port, and that no firewall rejects the way.',
      })
    case 'EMFILE':
    case 'ENFILE':
      return tooManyFiles('connect', peer, cause)
    case 'EADDRNOTAVAIL':
      // For an address of IPv6 it is a machine without IPv6.
      if (peer.startsWith('[')) return unreachable(peer, code, base)
      return new PoolsmithError(`This machine has no local port left for a connection to ${peer}.`, {
        ...base,
        code: 'CONNECT_FAILED',
        hint: 'Close connections that are not used (`ss -s` counts them), use a pool in place of many short connections, or widen net.ipv4.ip_local_port_range.',
      })
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'ENETDOWN':
      return unreachable(peer, code, base)
    case 'ETIMEDOUT':
      return new PoolsmithError(`${peer} did not answer.`, {
        ...base,
        code: 'CONNECT_TIMEOUT',
        hint: 'A firewall may drop the packets silently; check security groups and the address.',
      })
    case 'ENOENT':
      if (endpoint.kind === 'unix') {
        return new PoolsmithError(`There is no Unix socket ${peer}.`, {
          ...base,
          code: 'SOCKET_NOT_FOUND',
          hint: 'Check that the server runs, its unix_socket_directories, and that the port is the right one.',
        })
      }
      break
    default:
  }
  return new PoolsmithError(`Connecting to ${peer} failed (${code ?? cause.message}).`, {
    ...base,
    code: 'CONNECT_FAILED',
  })
}
