import { type Field, FieldMismatch } from '../../../connections/fields.ts'
import { Secret } from '../../../secret.ts'

const DEFAULT_PORTS = { http: 80, https: 443, socks5: 1080, socks5h: 1080 } as const

/** How the proxy is spoken to. Under `socks5h` it resolves the host name, under `socks5` we do (as in curl). */
export type ProxyScheme = keyof typeof DEFAULT_PORTS

/** Where a proxy is, out of its URL. */
export interface ProxyAddress {
  readonly scheme: ProxyScheme
  /** An IPv6 address without its brackets. */
  readonly host: string
  readonly port: number
  readonly user?: string
  readonly password?: Secret
}

/** `http://proxy.example.com:3128`: the URL without the login. */
export function showProxy({ scheme, host, port }: Pick<ProxyAddress, 'scheme' | 'host' | 'port'>): string {
  return `${scheme}://${authority(host, port)}`
}

/** `db.example.com:5432`, `[::1]:5432` */
export function authority(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/**
 * Reads a proxy's URL; without a scheme it is `http://`, as in curl.
 *
 * @returns a sentence that says what is wrong, and repeats nothing of the URL, which may hold a password
 */
export function parseProxyUrl(text: string): ProxyAddress | string {
  const given = text.trim()
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(given) ? given : `http://${given}`
  if (!URL.canParse(full)) return 'is not a URL'
  const url = new URL(full)
  const scheme = url.protocol.slice(0, -1)
  if (!isScheme(scheme)) return `has an unknown scheme; expected one of ${Object.keys(DEFAULT_PORTS).join(', ')}`
  if (url.hostname === '') return 'names no host'
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '') {
    return 'goes on behind the port; expected scheme://host:port'
  }
  const port = url.port === '' ? DEFAULT_PORTS[scheme] : Number(url.port)
  if (port === 0) return 'has the port 0'
  const user = decode(url.username)
  const password = decode(url.password)
  if (user === undefined || password === undefined) return 'has a login that is not percent-encoded properly'
  return {
    scheme,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port,
    ...(user === '' ? {} : { user }),
    ...(password === '' ? {} : { password: new Secret(password) }),
  }
}

function isScheme(text: string): text is ProxyScheme {
  return Object.hasOwn(DEFAULT_PORTS, text)
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** The option `proxy`: an address, or `env`. */
export function proxyField(description: string): Field<ProxyAddress | 'env' | undefined> {
  return {
    type: 'URL | env',
    description,
    default: undefined,
    aliases: [],
    // The name hides nothing: a URL with a login in it is hidden for its looks.
    secret: false,
    parse(value) {
      const text = value instanceof Secret ? value.reveal() : value
      if (typeof text !== 'string') throw new FieldMismatch('expected a URL or env')
      if (text.trim() === 'env') return 'env'
      const address = parseProxyUrl(text)
      if (typeof address === 'string') throw new FieldMismatch(`expected http://host:port or the like; it ${address}`)
      return address
    },
  }
}
