import type { Challenge } from '../../../kerberos/http-challenges.ts'
import type { Secret } from '../../../secret.ts'
import type { ProxyInfo } from '../../driver.ts'
import { type ProxyRoute, proxyError } from './errors.ts'

/** One attempt to log in to an HTTP proxy. */
export interface ProxyLogin extends Disposable {
  /** The value of `Proxy-Authorization` in the first request, where there is one. */
  first(): Promise<string | undefined>
  /** The value for the next request, after an answer of 407. Throws when there is nothing more to say. */
  next(challenges: readonly Challenge[]): Promise<string>
  /** The proxy has let us through: checks the proof that it may have given of itself. */
  finish(challenges: readonly Challenge[]): Promise<Pick<ProxyInfo, 'authentication' | 'identity' | 'mutual'>>
}

/** A proxy that asks for no login. */
export function noLogin(route: ProxyRoute): ProxyLogin {
  return {
    first: async () => undefined,
    next: async (challenges) => {
      throw proxyError(
        'PROXY_AUTH_REQUIRED',
        `The proxy ${route.proxy} asks for a login${offers(challenges)}.`,
        route,
        {
          hint: 'Set proxy_auth=kerberos, or proxy_auth=basic with proxy_user and proxy_password.',
          details: { offered: challenges.map(({ scheme }) => scheme) },
        },
      )
    },
    finish: async () => ({ authentication: 'none' }),
    [Symbol.dispose]: () => undefined,
  }
}

/** User name and password, sent with the first request (RFC 7617). */
export function basicLogin(route: ProxyRoute, user: string, password: Secret | undefined): ProxyLogin {
  return {
    first: async () => `Basic ${Buffer.from(`${user}:${password?.reveal() ?? ''}`).toString('base64')}`,
    next: async (challenges) => {
      if (!challenges.some(({ scheme }) => scheme === 'basic')) throw notOffered(route, 'basic', challenges)
      throw proxyError('PROXY_AUTH_REFUSED', `The proxy ${route.proxy} refuses the login of ${user}.`, route, {
        hint: 'Check proxy_user and proxy_password (or the login in the URL, where @ : / % must be percent-encoded).',
      })
    },
    finish: async () => ({ authentication: 'basic', identity: user }),
    [Symbol.dispose]: () => undefined,
  }
}

export function notOffered(route: ProxyRoute, wanted: string, challenges: readonly Challenge[]): Error {
  return proxyError(
    'PROXY_AUTH_UNSUPPORTED',
    `The proxy ${route.proxy} does not take proxy_auth=${wanted}${offers(challenges)}.`,
    route,
    {
      hint: 'Set proxy_auth to a way that the proxy offers: Negotiate is kerberos, Basic is basic.',
      details: { offered: challenges.map(({ scheme }) => scheme) },
    },
  )
}

function offers(challenges: readonly Challenge[]): string {
  const schemes = [...new Set(challenges.map(({ scheme }) => scheme))]
  return schemes.length === 0 ? '' : `; it offers ${schemes.join(', ')}`
}
