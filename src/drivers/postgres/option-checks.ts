/** The contradictions between the options of PostgreSQL. */

import { hostsOf, isHostList } from '../../connections/host-list.ts'
import type { ConfigProblem } from '../../errors.ts'
import { numericAddress } from '../network/numeric-address.ts'
import { parseRequireAuth } from './auth-policy.ts'
import {
  effectiveSslMode,
  type PostgresOptions,
  type PostgresTarget,
  PROTOCOL_VERSIONS,
  type SslMode,
} from './options.ts'
import { protocolVersions } from './protocol-version.ts'

const STRONG: readonly SslMode[] = ['require', 'verify-ca', 'verify-full']

/** All contradictions between the options. */
export function checkPostgresOptions(target: PostgresTarget, options: PostgresOptions): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const say = (key: string, message: string): void => {
    problems.push({ path: `extra.${key}`, message })
  }
  const mode = effectiveSslMode(options)
  if (options.sslrootcert === 'system' && mode !== 'verify-full') {
    say('sslmode', `${mode} is too weak for sslrootcert=system; use verify-full`)
  }
  if (mode === 'disable') {
    for (const key of ['sslrootcert', 'sslcrl', 'sslcrldir'] as const) {
      if (options[key] !== undefined && options[key] !== 'system')
        say(key, 'checks nothing under sslmode=disable; leave one of them out')
    }
  }
  if (mode === 'verify-full' && options.hostaddr !== undefined && (target.host === undefined || target.host === '')) {
    problems.push({ path: 'host', message: 'is missing; verify-full checks the certificate against it' })
  }
  if (options.ssl === true && !STRONG.includes(mode)) {
    say('sslmode', `${mode} is too weak for ssl=true; use require, verify-ca or verify-full`)
  }
  if (options.sslnegotiation === 'direct' && !STRONG.includes(mode)) {
    say('sslmode', `${mode} is too weak for sslnegotiation=direct; use require, verify-ca or verify-full`)
  }
  const versions = protocolVersions(options)
  if (versions.highest < versions.lowest) {
    say('max_protocol_version', `is below min_protocol_version (${options.min_protocol_version})`)
  }
  const highest = options.ssl_max_protocol_version
  if (
    highest !== undefined &&
    PROTOCOL_VERSIONS.indexOf(highest) < PROTOCOL_VERSIONS.indexOf(options.ssl_min_protocol_version)
  ) {
    say('ssl_max_protocol_version', `is below ssl_min_protocol_version (${options.ssl_min_protocol_version})`)
  }
  if (options.sslkey !== undefined && options.sslcert === undefined && options.sslcert_from === undefined) {
    say('sslkey', 'is of no use without sslcert')
  }
  if (options.sslkey_from !== undefined && options.sslcert === undefined && options.sslcert_from === undefined) {
    say('sslkey_from', 'is of no use without sslcert or sslcert_from')
  }
  const isUnix = target.host?.startsWith('/') === true
  if (options.hostaddr !== undefined) {
    const { length } = hostsOf(target)
    const addresses = options.hostaddr.split(',')
    if (addresses.length !== length) {
      say(
        'hostaddr',
        `names ${count(addresses.length, 'address', 'addresses')} for ${count(length, 'host', 'hosts')}; write as many`,
      )
    } else if (addresses.some((one) => (length > 1 ? one !== '' : true) && numericAddress(one) === undefined)) {
      say('hostaddr', 'expected an IP address, such as 10.0.0.5 or 2001:db8::5; a name belongs into host')
    } else if (isUnix) say('hostaddr', 'is of no use, since host is the folder of a Unix socket')
  }
  if (options.sslcertmode === 'require' && (mode === 'disable' || isUnix)) {
    say('sslcertmode', `require is impossible ${isUnix ? 'over a Unix socket' : 'under sslmode=disable'}, without TLS`)
  }
  if (options.requirepeer !== undefined && !isUnix) {
    say('requirepeer', 'checks a server behind a Unix socket only; host is none, so that nothing would be checked')
  } else if (options.requirepeer !== undefined && process.platform === 'win32') {
    say('requirepeer', 'is not supported on Windows')
  }
  if (options.gssencmode === 'require' && target.host?.startsWith('/')) {
    say('gssencmode', 'require is impossible over a Unix socket, which is never encrypted')
  }
  if (options.krbspn !== undefined && !options.krbspn.includes('/')) {
    say('krbspn', 'is not a principal of a server, such as postgres/db.example.com@EXAMPLE.COM')
  }
  if (isHostList(target.host)) problems.push(...listProblems(target, options))
  const policy = parseRequireAuth(options.require_auth)
  if (typeof policy === 'string') say('require_auth', policy)
  // A zero byte ends a string in the start-up message: what follows would be read as another setting.
  const words = { login: target.login, database: target.database }
  for (const [key, value] of Object.entries(words)) {
    if (value?.includes('\0')) problems.push({ path: key, message: 'must not contain a zero byte' })
  }
  return problems
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`
}

/** The problems of options beside a list of hosts. */
function listProblems(target: PostgresTarget, options: PostgresOptions): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (options.krbspn !== undefined) {
    const message = 'names one server, and host lists several; leave it out, so that each has its own, or list one host'
    problems.push({ path: 'extra.krbspn', message })
  }
  // One name may stand twice for two addresses.
  const places = hostsOf(target).map(({ host = '', port = 5432 }) => `${host.toLowerCase()}:${port}`)
  if (options.hostaddr === undefined && new Set(places).size < places.length) {
    problems.push({ path: 'host', message: 'lists the same host and port twice; leave one of them out' })
  }
  return problems
}
