import { boolean, oneOf, path, pem, secret, text, type ValuesOf } from '../../../connections/fields.ts'
import type { ConfigProblem } from '../../../errors.ts'
import { type ProxyAddress, parseProxyUrl, proxyField } from './address.ts'
import { type Environment, type Purpose, proxyVariable } from './environment.ts'

/** The extras about the proxy, for every database. Those with a leading underscore are Databricks' spellings. */
export const proxyFields = {
  proxy: proxyField(
    'The proxy through which the database, the token endpoints of the strategy and stores of secrets are reached: ' +
      '`http://host:3128`, `https://host:443` (TLS to the proxy), `socks5h://host:1080` (SOCKS5; the proxy resolves ' +
      'the name) or `socks5://` (we do). A login may stand in the URL, percent-encoded. `env`: the one that the ' +
      'environment names (`https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`, and `http_proxy` for a database ' +
      'last), if it names one. Default: no proxy, whatever the environment says.',
  ),
  no_proxy: text({
    description:
      'Hosts that are reached directly: names (with all below them), addresses, networks as `10.0.0.0/8`, each with ' +
      '`:port` if only that is meant, separated by commas; `*` is all. Default: `no_proxy` or `NO_PROXY` of the ' +
      'environment, which under an explicit `proxy` counts for token endpoints, but not for the database.',
  }),
  proxy_auth: oneOf(['none', 'basic', 'kerberos', 'negotiate'], {
    aliases: ['_proxy_auth', '_proxy_auth_method', '_proxy_auth_type'],
    description:
      'How to log in to the proxy. `basic`: user name and password. `kerberos` (or `negotiate`): a ticket, by SPNEGO. ' +
      'Default: `basic` where there is a user name, else `none`.',
  }),
  proxy_user: text({
    aliases: ['proxy_username'],
    description: 'The user name at the proxy, where it is not in the URL.',
  }),
  proxy_password: secret({ description: 'The password at the proxy, where it is not in the URL.' }),
  proxy_ca: pem('certificates', {
    words: ['system'],
    description:
      'PEM file with the authorities that sign the certificate of an `https://` proxy, or `system` for those of the ' +
      "operating system. Read again when it changes. Default: Node's own list, and NODE_EXTRA_CA_CERTS.",
  }),
  proxy_kerberos_service_name: text({
    default: 'HTTP',
    aliases: ['_proxy_kerberos_service_name'],
    description: "The service in the proxy's principal `HTTP/host`.",
  }),
  proxy_kerberos_principal: text({
    aliases: ['_proxy_kerberos_principal'],
    description:
      "The principal whose ticket the proxy gets; it may differ from the database's. Default: the principal of the cache.",
  }),
  proxy_kerberos_ccache: path({
    description: "The ticket cache for the proxy. Default: krb5's own.",
  }),
  proxy_kerberos_keytab: path({
    description:
      'Obtains the ticket for the proxy from this keytab, into `proxy_kerberos_ccache` or a cache in memory. Name ' +
      '`proxy_kerberos_principal` with it.',
  }),
  proxy_kerberos_delegate: boolean({
    default: false,
    aliases: ['_proxy_kerberos_delegate'],
    description: 'Give the proxy a ticket to act for the client, if the ticket is forwardable.',
  }),
  proxy_kerberos_mutual_auth: oneOf(['REQUIRED', 'OPTIONAL', 'DISABLED'], {
    default: 'REQUIRED',
    aliases: ['_proxy_kerberos_mutual_auth'],
    description:
      'Whether the proxy must prove itself to us. `REQUIRED`: yes. `OPTIONAL`: a proof that it sends is verified, and ' +
      'a false one refused, but it may send none, as Squid does in answer to CONNECT. `DISABLED`: none is asked for. ' +
      "(The database's own TLS or GSS encryption is verified in every case, through the tunnel.)",
  }),
} as const

/** The parsed extras of {@link proxyFields}. */
export type ProxyOptions = ValuesOf<typeof proxyFields>

export type ProxyAuth = 'none' | 'basic' | 'kerberos'

/** The proxy for one purpose, with its login: the URL's or the extras'. */
export interface ChosenProxy {
  readonly address: ProxyAddress
  readonly auth: ProxyAuth
}

/** The contradictions between the options, beyond each one's own type. All problems at once. */
export function checkProxyOptions(
  options: ProxyOptions,
  environment: Environment,
  host: string | undefined,
): readonly ConfigProblem[] {
  const chosen = chooseProxy(options, environment, 'database')
  const problems = chosen !== undefined && 'length' in chosen ? [...chosen] : []
  if (typeof options.proxy === 'object' && host?.startsWith('/') === true) {
    problems.push({ path: 'extra.proxy', message: 'leads to no Unix socket; name a host instead' })
  }
  return problems
}

/** @returns undefined where there is no proxy; a list of what is wrong with the options taken together */
export function chooseProxy(
  options: ProxyOptions,
  environment: Environment,
  purpose: Purpose,
): ChosenProxy | undefined | readonly ConfigProblem[] {
  const found = findAddress(options, environment, purpose)
  if (found === undefined) return unused(options)
  if ('path' in found) return [found]
  const { proxy_user: user, proxy_password: password } = options
  const address: ProxyAddress = {
    ...found,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
  }
  const { proxy_auth: given } = options
  const auth =
    given === undefined ? (address.user === undefined ? 'none' : 'basic') : given === 'negotiate' ? 'kerberos' : given
  const problems = [...conflicts(options), ...loginProblems(address, auth, options)]
  return problems.length > 0 ? problems : { address, auth }
}

function findAddress(
  { proxy }: ProxyOptions,
  environment: Environment,
  purpose: Purpose,
): ProxyAddress | ConfigProblem | undefined {
  if (proxy !== 'env') return proxy
  const variable = proxyVariable(environment, purpose)
  if (variable === undefined) return undefined
  const address = parseProxyUrl(variable.value)
  if (typeof address !== 'string') return address
  return { path: 'extra.proxy', message: `the variable ${variable.name} of the environment ${address}` }
}

const NEEDS_PROXY = ['proxy_auth', 'proxy_user', 'proxy_password', 'proxy_ca'] as const
const NEEDS_KERBEROS = ['proxy_kerberos_principal', 'proxy_kerberos_ccache', 'proxy_kerberos_keytab'] as const

function unused(options: ProxyOptions): readonly ConfigProblem[] | undefined {
  // Under `env` the same record serves where there is a proxy and where there is none.
  if (options.proxy === 'env') return undefined
  const useless = [...NEEDS_PROXY, ...NEEDS_KERBEROS].filter((key) => options[key] !== undefined)
  if (useless.length === 0) return undefined
  return useless.map((key) => ({ path: `extra.${key}`, message: 'is of no use without proxy' }))
}

function conflicts(options: ProxyOptions): ConfigProblem[] {
  const { proxy, proxy_user: user, proxy_password: password } = options
  if (typeof proxy !== 'object') return []
  const twice = (key: string, one: unknown, other: unknown): ConfigProblem[] =>
    one === undefined || other === undefined
      ? []
      : [{ path: `extra.${key}`, message: 'is in the URL too; keep one of them' }]
  return [...twice('proxy_user', user, proxy.user), ...twice('proxy_password', password, proxy.password)]
}

function loginProblems(
  { scheme, user, password }: ProxyAddress,
  auth: ProxyAuth,
  options: ProxyOptions,
): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const say = (key: string, message: string): void => {
    problems.push({ path: `extra.${key}`, message })
  }
  const socks = scheme === 'socks5' || scheme === 'socks5h'
  if (auth === 'basic') {
    if (user === undefined) say('proxy_user', 'proxy_auth=basic needs it, or a login in the URL')
    else if (!socks && user.includes(':')) say('proxy_user', 'must not contain a colon')
    for (const [key, value] of [
      ['proxy_user', user],
      ['proxy_password', password?.reveal()],
    ] as const) {
      if (value === undefined) continue
      if (/\p{Cc}/u.test(value)) say(key, 'must not contain control characters')
      if (socks && Buffer.byteLength(value) > 255) say(key, 'must not be longer than 255 bytes for SOCKS5')
    }
  } else if (user !== undefined && typeof options.proxy === 'object') {
    say('proxy_auth', `${auth} makes no use of the user name that is given`)
  }
  if (auth === 'kerberos' && socks) say('proxy_auth', `kerberos is for http:// and https:// proxies`)
  if (auth !== 'kerberos') {
    for (const key of NEEDS_KERBEROS)
      if (options[key] !== undefined) say(key, 'is of no use without proxy_auth=kerberos')
  }
  if (options.proxy_ca !== undefined && scheme !== 'https' && typeof options.proxy === 'object') {
    say('proxy_ca', `is of no use with an ${scheme}:// proxy`)
  }
  return problems
}
