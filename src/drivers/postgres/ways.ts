import type { Credential } from '../../credentials/credential.ts'
import { ConfigError, PoolsmithError } from '../../errors.ts'
import type { Endpoint } from '../network/socket.ts'
import { GssNotOffered, GssSetupFailed } from './gss-transport.ts'
import { NegotiationRefusal } from './negotiation.ts'
import type { GssMode, SslMode } from './options.ts'
import { ServerRefusal } from './server-error.ts'

/** How a connection is tried. */
export type Way = 'gss' | 'tls' | 'plain'

export interface Modes {
  readonly sslMode: SslMode
  readonly gssMode: GssMode
}

const TLS_WAYS: Readonly<Record<SslMode, readonly Way[]>> = {
  disable: ['plain'],
  allow: ['plain', 'tls'],
  prefer: ['tls', 'plain'],
  require: ['tls'],
  'verify-ca': ['tls'],
  'verify-full': ['tls'],
}

/**
 * The ways that `gssencmode` and `sslmode` allow, in libpq's order: never empty. A token never travels in the open,
 * and a client certificate counts only in TLS.
 */
export function waysToTry({ sslMode, gssMode }: Modes, endpoint: Endpoint, credential: Credential): readonly Way[] {
  if (endpoint.kind === 'unix') return ['plain']
  if (gssMode === 'require') {
    if (credential.kind !== 'certificate') return ['gss']
    throw new ConfigError([
      { path: 'extra.gssencmode', message: 'require rules out TLS, and with it a login by client certificate' },
    ])
  }
  const needsTls = credential.kind === 'token' || credential.kind === 'certificate'
  const ways = TLS_WAYS[sslMode].filter((way) => way === 'tls' || !needsTls)
  if (gssMode === 'prefer' && credential.kind !== 'certificate') return ['gss', ...ways]
  if (ways.length > 0) return ways
  throw new PoolsmithError(
    `sslmode=disable would send ${credential.kind === 'token' ? 'a token' : 'our login'} unprotected.`,
    {
      code: 'TLS_NEEDED',
      phase: 'config',
      hint: 'Use sslmode=verify-full (or at least require) with this auth_method.',
    },
  )
}

/** Whether libpq goes on with the next way, on a new connection, after this one ended so. */
export function goesOn(cause: unknown, way: Way): boolean {
  if (way === 'gss') {
    // Whatever the server itself says before it has let us in, and what fails while the encryption is set up. Not: a
    // server that hangs up or talks nonsense when it is asked, and nothing once the encrypted session stands.
    // libpq would go on without TLS after a failed channel binding, which is what a man in the middle hopes for.
    if (cause instanceof ServerRefusal) return !cause.authenticated && cause.advice?.code !== 'CHANNEL_BINDING_FAILED'
    return cause instanceof NegotiationRefusal || cause instanceof GssNotOffered || cause instanceof GssSetupFailed
  }
  // libpq would go on without TLS after a failed channel binding, which is what a man in the middle hopes for.
  if (cause instanceof ServerRefusal) return !cause.authenticated && cause.advice?.code !== 'CHANNEL_BINDING_FAILED'
  if (!(cause instanceof PoolsmithError)) return false
  // libpq would have sent the password; where we do not, the encrypted attempt is still open.
  if (way === 'plain') return cause.code === 'CLEARTEXT_REFUSED'
  return cause.phase === 'tls' && cause.code !== 'TLS_STUFFED'
}

/** One way that led nowhere. */
export interface Failure {
  readonly way: Way
  readonly error: unknown
}

const NAMES: Readonly<Record<Way, string>> = { gss: 'with GSSAPI encryption', tls: 'with TLS', plain: 'without TLS' }

/** All ways failed: the last one's error, with a word about those before that say something else. */
export function joined(failures: readonly Failure[]): unknown {
  let { error: last } = failures.at(-1) ?? {}
  for (const { way, error: first } of failures.slice(0, -1).reverse()) {
    if (!(last instanceof PoolsmithError) || !(first instanceof PoolsmithError)) return last
    if (last.code === first.code) continue
    if (last.code === 'TLS_NOT_OFFERED') {
      last = first
      continue
    }
    last = new PoolsmithError(`${last.message} (Before that, ${NAMES[way]}: ${first.message})`, {
      code: last.code,
      phase: last.phase,
      transient: last.transient,
      details: { ...last.details, before: first.toJSON() },
      cause: last.cause,
      ...(last.hint === undefined ? {} : { hint: last.hint }),
    })
  }
  return last
}
