import { type ErrorCode, PoolsmithError } from '../../../errors.ts'

type ProxyErrorCode = Extract<ErrorCode, `PROXY_${string}`>

/** The peers that an error is about. Neither text ever holds a login. */
export interface ProxyRoute {
  /** `http://proxy.example.com:3128` */
  readonly proxy: string
  /** `db.example.com:5432` */
  readonly target: string
}

export interface ProxyErrorOptions {
  readonly hint?: string
  readonly transient?: boolean
  readonly details?: Readonly<Record<string, unknown>>
  /** Never an error that holds what was sent. */
  readonly cause?: unknown
}

export function proxyError(
  code: ProxyErrorCode,
  message: string,
  route: ProxyRoute,
  options: ProxyErrorOptions = {},
): PoolsmithError {
  const { details, ...rest } = options
  return new PoolsmithError(message, { code, phase: 'proxy', ...rest, details: { ...route, ...details } })
}

/** An error on the way to the proxy (names, sockets, files, Kerberos), with the phase `proxy`. */
export function inProxyPhase(error: PoolsmithError, route: ProxyRoute, hint = error.hint): PoolsmithError {
  const message = `For the proxy ${route.proxy}: ${error.message}`
  return error.with({ message, phase: 'proxy', details: { ...route }, cause: error, hint })
}

/** The proxy's answer to a request for a tunnel was neither yes nor a request to log in. */
export function statusError(status: number, route: ProxyRoute): PoolsmithError {
  const { proxy, target } = route
  const details = { status }
  if (status >= 300 && status < 400) {
    return proxyError('PROXY_REDIRECT', `The proxy ${proxy} answers with a redirection (${status}).`, route, {
      hint: 'Name the right proxy in `proxy`; a portal that wants a login by browser does this too.',
      details,
    })
  }
  if (status === 502 || status === 503 || status === 504) {
    return proxyError('PROXY_TARGET_UNREACHABLE', `The proxy ${proxy} cannot reach ${target} (${status}).`, route, {
      hint: 'Check host and port of the connection: the proxy resolves the name, in its own network.',
      transient: true,
      details,
    })
  }
  if (status === 403) {
    return proxyError('PROXY_FORBIDDEN', `The proxy ${proxy} forbids ${target} (${status}).`, route, {
      hint: 'Have the proxy allow CONNECT to this host and port; many allow port 443 alone.',
      details,
    })
  }
  return proxyError('PROXY_FAILED', `The proxy ${proxy} gives no tunnel to ${target} (${status}).`, route, {
    hint:
      status === 400 || status === 405 || status === 501
        ? 'What answers may be a web server, or a proxy that does not know CONNECT.'
        : "The proxy's log says why.",
    transient: status >= 500,
    details,
  })
}
