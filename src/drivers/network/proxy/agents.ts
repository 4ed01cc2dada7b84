import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import { onAbort } from '../../../abort.ts'
import { PoolsmithError } from '../../../errors.ts'
import type { Tunnel } from './tunnel.ts'

/**
 * Agents for Node's own HTTP client, and for the SDKs that are built on it. They keep no idle connections. `destroy` also
 * ends the tunnels that are being opened; a request that is destroyed leaves its tunnel to that, or to the time limit.
 */
export interface ProxyAgents {
  readonly http: HttpAgent
  readonly https: HttpsAgent
}

/** The way to an origin; undefined means directly. */
export type FindTunnel = (scheme: 'http' | 'https', host: string, port: number) => Tunnel | undefined

type Done = (error: Error | null, stream: Duplex) => void

/** Node gives an agent no signal for the connection that it makes. */
const LIMIT_MILLIS = 30_000

export function proxyAgents(find: FindTunnel): ProxyAgents {
  return { http: new TunnellingHttpAgent(find), https: new TunnellingHttpsAgent(find) }
}

class TunnellingHttpAgent extends HttpAgent {
  readonly #find: FindTunnel
  readonly #end = new AbortController()

  constructor(find: FindTunnel) {
    super({ keepAlive: false })
    this.#find = find
  }

  override destroy(): void {
    this.#end.abort(ended())
    super.destroy()
  }

  override createConnection(options: RequestOptions, done?: Done): Duplex | null | undefined {
    const tunnel = this.#find('http', ...origin(options, 80))
    if (tunnel === undefined) return super.createConnection(options, done)
    open(tunnel, this.#end.signal, done, (stream) => stream)
    return undefined
  }
}

class TunnellingHttpsAgent extends HttpsAgent {
  readonly #find: FindTunnel
  readonly #end = new AbortController()

  constructor(find: FindTunnel) {
    super({ keepAlive: false })
    this.#find = find
  }

  override destroy(): void {
    this.#end.abort(ended())
    super.destroy()
  }

  override createConnection(options: RequestOptions, done?: Done): Duplex | null | undefined {
    const tunnel = this.#find('https', ...origin(options, 443))
    if (tunnel === undefined) return super.createConnection(options, done)
    // TLS to the origin, end to end; by the name that the request is for.
    open(
      tunnel,
      this.#end.signal,
      done,
      (socket) => super.createConnection({ ...options, socket } as RequestOptions) ?? socket,
    )
    return undefined
  }
}

function origin({ host, hostname, port }: RequestOptions, defaultPort: number): [string, number] {
  const name = (hostname ?? host ?? 'localhost').replace(/^\[(.*)\]$/, '$1')
  return [name, Number(port ?? defaultPort)]
}

async function open(
  tunnel: Tunnel,
  end: AbortSignal,
  done: Done | undefined,
  dress: (stream: Duplex) => Duplex,
): Promise<void> {
  const limit = new AbortController()
  using _ = onAbort(end, () => limit.abort(end.reason))
  const timer = setTimeout(() => limit.abort(tooSlow(tunnel)), LIMIT_MILLIS)
  try {
    const { stream } = await tunnel.open({ signal: limit.signal })
    done?.(null, dress(stream))
  } catch (error) {
    // The types want a stream beside the error; Node looks at none.
    const fail = done as ((error: unknown) => void) | undefined
    fail?.(error)
  } finally {
    clearTimeout(timer)
  }
}

function ended(): PoolsmithError {
  return new PoolsmithError('The pool that the request was made for has been destroyed.', {
    code: 'ABORTED',
    phase: 'proxy',
  })
}

function tooSlow({ proxy }: Tunnel): PoolsmithError {
  return new PoolsmithError(`The proxy ${proxy} gave no tunnel within ${LIMIT_MILLIS / 1000} s.`, {
    code: 'CONNECT_TIMEOUT',
    phase: 'proxy',
    transient: true,
    hint: 'Check that the proxy is reachable and answers.',
  })
}
