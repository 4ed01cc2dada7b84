import { createHash } from 'node:crypto'
import { domainToASCII } from 'node:url'
import { fileSource } from '../../../credentials/reread-file.ts'
import { CaFile, trustEvents } from '../../../credentials/trust-files.ts'
import { ConfigError } from '../../../errors.ts'
import type { Emit } from '../../../events.ts'
import { type Lookup, systemLookup } from '../socket.ts'
import { authority, showProxy } from './address.ts'
import { type ProxyAgents, proxyAgents } from './agents.ts'
import { type Environment, noProxyVariable, type Purpose } from './environment.ts'
import type { ProxyRoute } from './errors.ts'
import { openHttpTunnel } from './http-tunnel.ts'
import { kerberosLogin } from './kerberos-login.ts'
import { basicLogin, noLogin, type ProxyLogin } from './login.ts'
import { isExcepted } from './no-proxy.ts'
import { type ChosenProxy, chooseProxy, type ProxyOptions } from './options.ts'
import { isOwnMachine } from './own-machine.ts'
import { ProxyServer } from './server-connection.ts'
import { openSocksTunnel } from './socks-tunnel.ts'
import type { ProxyRouter, Tunnel, TunnelOptions } from './tunnel.ts'

export interface ProxyContext {
  /** Default: the process' own. */
  readonly environment?: Environment
  readonly emit: Emit
  /** Default: the system's resolver. */
  readonly lookup?: Lookup
}

/** The proxies of one connection. */
export interface Proxies {
  /** For the database. */
  readonly route: ProxyRouter
  /** For what a strategy fetches. */
  readonly agents: ProxyAgents
}

/**
 * Reads where the proxies are; connects to none.
 *
 * @throws ConfigError when the options contradict each other
 */
export function createProxies(options: ProxyOptions, context: ProxyContext): Proxies {
  const { environment = process.env, emit, lookup = systemLookup } = context
  const direct = options.no_proxy ?? noProxyVariable(environment) ?? ''
  const made = new Map<string, ProxyClient>()
  const clientFor = (purpose: Purpose): ProxyClient | undefined => {
    const chosen = chooseProxy(options, environment, purpose)
    if (chosen === undefined) return undefined
    if ('length' in chosen) throw new ConfigError(chosen)
    const key = showProxy(chosen.address)
    const client = made.get(key) ?? new ProxyClient(chosen, options, emit, lookup)
    made.set(key, client)
    return client
  }
  const forDatabase = clientFor('database')
  // The environment alone never decides about a database.
  const databaseDirect = options.proxy === 'env' ? direct : (options.no_proxy ?? '')
  const route: ProxyRouter = (host, port) =>
    isExcepted(databaseDirect, host, port) ? undefined : forDatabase?.tunnelTo(host, port)
  const forFetches = { http: clientFor('http'), https: clientFor('https') }
  const agents = proxyAgents((scheme, host, port) =>
    isOwnMachine(host) || isExcepted(direct, host, port) ? undefined : forFetches[scheme]?.tunnelTo(host, port),
  )
  return { route, agents }
}

/** One proxy and our login there. */
class ProxyClient {
  readonly #chosen: ChosenProxy
  readonly #options: ProxyOptions
  readonly #lookup: Lookup
  readonly #server: ProxyServer
  #warn: (() => void) | undefined

  constructor(chosen: ChosenProxy, options: ProxyOptions, emit: Emit, lookup: Lookup) {
    this.#chosen = chosen
    this.#options = options
    this.#lookup = lookup
    const { proxy_ca: ca } = options
    this.#server = new ProxyServer(
      chosen.address,
      lookup,
      ca === undefined || ca === 'system'
        ? ca
        : new CaFile(fileSource('proxy_ca', ca), { ...trustEvents(emit), option: 'proxy_ca' }),
    )
    if (chosen.auth === 'basic' && chosen.address.scheme !== 'https') {
      const proxy = showProxy(chosen.address)
      this.#warn = () =>
        emit('security:warning', {
          code: 'PROXY_PASSWORD_EXPOSED',
          message: `The password for the proxy ${proxy} goes to it unencrypted; https:// or proxy_auth=kerberos does not.`,
        })
    }
  }

  tunnelTo(host: string, port: number): Tunnel {
    const proxy = showProxy(this.#chosen.address)
    return {
      proxy,
      open: async (options) => {
        this.#warn?.()
        this.#warn = undefined
        // The characters of a name are checked here, so that no name can end a line of the request.
        const name = host.includes(':') ? host : domainToASCII(host)
        if (name === '' || name.length > 253 || /[^\w.:%-]/.test(name)) {
          throw new ConfigError([{ path: 'host', message: 'is not a host name that a proxy can be asked for' }])
        }
        return this.#open(name, port, { proxy, target: authority(name, port) }, options)
      },
    }
  }

  async #open(host: string, port: number, route: ProxyRoute, options: TunnelOptions): ReturnType<Tunnel['open']> {
    const { address } = this.#chosen
    if (address.scheme === 'socks5' || address.scheme === 'socks5h') {
      return openSocksTunnel(this.#server, address, { host, port }, route, { ...options, lookup: this.#lookup })
    }
    using login = await this.#login(route, options.signal)
    return await openHttpTunnel(this.#server, login, route, options)
  }

  async #login(route: ProxyRoute, signal: AbortSignal): Promise<ProxyLogin> {
    const { address, auth } = this.#chosen
    if (auth === 'basic') return basicLogin(route, address.user ?? '', address.password)
    if (auth === 'none') return noLogin(route)
    const options = this.#options
    const { proxy_kerberos_principal: principal, proxy_kerberos_keytab: keytab } = options
    return kerberosLogin(
      route,
      {
        serviceName: options.proxy_kerberos_service_name,
        host: address.host,
        principal,
        keytab,
        cache: options.proxy_kerberos_ccache ?? (keytab === undefined ? undefined : memoryCache(principal, keytab)),
        delegate: options.proxy_kerberos_delegate,
        mutual: options.proxy_kerberos_mutual_auth,
      },
      signal,
    )
  }
}

/** One for each keytab and principal, however many pools use them. */
function memoryCache(principal: string | undefined, keytab: string): string {
  const name = createHash('sha256')
    .update(`${principal ?? ''}\0${keytab}`)
    .digest('hex')
    .slice(0, 16)
  return `MEMORY:poolsmith-proxy-${name}`
}
