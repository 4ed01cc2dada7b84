import { PoolsmithError } from '../../../errors.ts'
import { openCredential } from '../../../kerberos/ensure-ticket.ts'
import type { GssContext, GssFlag, GssStep } from '../../../kerberos/gss-api.ts'
import type { Challenge } from '../../../kerberos/http-challenges.ts'
import { loadGssApi } from '../../../kerberos/load-gss-api.ts'
import { inProxyPhase, type ProxyRoute, proxyError } from './errors.ts'
import { notOffered, type ProxyLogin } from './login.ts'

export interface KerberosLoginOptions {
  /** First part of the proxy's principal, `HTTP` in `HTTP/proxy.example.com`. */
  readonly serviceName: string
  /** The proxy's host as the user named it. */
  readonly host: string
  readonly principal?: string | undefined
  readonly cache?: string | undefined
  readonly keytab?: string | undefined
  readonly delegate: boolean
  readonly mutual: 'REQUIRED' | 'OPTIONAL' | 'DISABLED'
}

/**
 * Kerberos by SPNEGO in HTTP (RFC 4559, RFC 4178). The first token goes out with the first request: the
 * user has configured Kerberos, and this saves a round trip.
 */
export async function kerberosLogin(
  route: ProxyRoute,
  options: KerberosLoginOptions,
  signal: AbortSignal,
): Promise<ProxyLogin> {
  const { serviceName, host, principal, cache, keytab, delegate, mutual } = options
  const { gss, credential } = await ours(route, async () => {
    const api = await loadGssApi()
    return {
      gss: api,
      credential: await openCredential(api, { principal, cache, keytab }, { signal, mechanism: 'spnego' }),
    }
  })
  let context: GssContext
  try {
    const flags: GssFlag[] = ['integrity']
    if (mutual !== 'DISABLED') flags.push('mutual')
    if (delegate) flags.push('delegate')
    const target = { service: serviceName, host }
    context = await ours(route, async () =>
      gss.initContext({ target, flags, credential: credential.handle, mechanism: 'spnego' }),
    )
  } catch (error) {
    credential[Symbol.dispose]()
    throw error
  }
  const identity = credential.ticket.principal

  return {
    first: async () => authorization(await ours(route, () => context.step(undefined, { signal })), route, identity),
    next: async (challenges) => {
      const offered = challenges.filter(({ scheme }) => scheme === 'negotiate')
      if (offered.length === 0) throw notOffered(route, 'kerberos', challenges)
      const token = tokenIn(offered)
      // The proxy begins again, or asks for more tokens than the exchange has.
      if (token === undefined || context.complete) throw refused(route, identity)
      return authorization(await theirs(route, context, token, signal), route, identity)
    },
    finish: async (challenges) => {
      const token = tokenIn(challenges)
      if (mutual !== 'DISABLED' && token !== undefined && !context.complete) {
        await theirs(route, context, token, signal)
      }
      const proven = context.complete && context.flags.includes('mutual')
      if (mutual === 'REQUIRED' && !proven) throw unproven(route)
      return { authentication: 'kerberos', identity, mutual: proven }
    },
    [Symbol.dispose]: () => {
      context[Symbol.dispose]()
      credential[Symbol.dispose]()
    },
  }
}

function tokenIn(challenges: readonly Challenge[]): Buffer | undefined {
  const found = challenges.find(({ scheme, token }) => scheme === 'negotiate' && token !== undefined)
  return found?.token === undefined ? undefined : Buffer.from(found.token, 'base64')
}

function authorization({ token }: GssStep, route: ProxyRoute, identity: string): string {
  if (token === undefined) throw refused(route, identity)
  return `Negotiate ${token.toString('base64')}`
}

/** A failure before the proxy has answered is about the ticket, the KDC or the proxy's principal. */
async function ours<T>(route: ProxyRoute, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof PoolsmithError) || error.code === 'ABORTED') throw error
    const hint =
      error.code === 'SPN_UNKNOWN'
        ? 'Name the proxy in its URL as its principal does (no address, no alias), or correct proxy_kerberos_service_name; `kvno HTTP/host` must work.'
        : error.hint
    throw inProxyPhase(error, route, hint)
  }
}

/** A token of the proxy. It proves the proxy's identity, so a wrong one is reported as an impostor. */
async function theirs(route: ProxyRoute, context: GssContext, token: Buffer, signal: AbortSignal): Promise<GssStep> {
  try {
    return await context.step(token, { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw proxyError('PROXY_NOT_GENUINE', `The proxy ${route.proxy} could not prove that it is itself.`, route, {
      hint: 'Check its keytab, which may be damaged or of another name; or another server answers in its place.',
      cause: error,
    })
  }
}

function refused(route: ProxyRoute, identity: string): PoolsmithError {
  return proxyError(
    'PROXY_AUTH_REFUSED',
    `The proxy ${route.proxy} refuses the Kerberos login of ${identity}.`,
    route,
    {
      hint: "Its keytab may be older than its principal's key, the clocks may differ, or it does not let this user in: its log says which.",
      details: { principal: identity },
    },
  )
}

function unproven(route: ProxyRoute): PoolsmithError {
  return proxyError('PROXY_MUTUAL_AUTH_MISSING', `The proxy ${route.proxy} did not prove that it is itself.`, route, {
    hint: 'Squid, for one, sends no proof with its answer to CONNECT: proxy_kerberos_mutual_auth=OPTIONAL checks one that comes and goes on without.',
  })
}
