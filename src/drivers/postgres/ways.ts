import type { Credential } from '../../credentials/credential.ts'
import { ConfigError, PoolsmithError } from '../../errors.ts'
import type { Endpoint } from '../network/socket.ts'
import { GssNotOffered, GssSetupFailed } from './gss-transport.ts'
import { NegotiationRefusal } from './negotiation.ts'
import type { GssMode, SslMode } from './options.ts'
import { ServerRefusal } from './server-error.ts'

/** A way to protect a connection. */
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
 * The ways that `gssencmode` and `sslmode` allow, in libpq's order; at least one. A token is never sent unencrypted, and a
 * client certificate can be used in TLS only.
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
    `sslmode=disable would send ${credential.kind === 'token' ? 'a token' : 'the login'} unprotected.`,
    {
      code: 'TLS_NEEDED',
      phase: 'config',
      hint: 'Use sslmode=verify-full (or at least require) with this auth_method.',
    },
  )
}

/** Whether libpq tries the next way, on a new connection, after this one failed with `cause`. */
export function goesOn(cause: unknown, way: Way): boolean {
  if (way === 'gss') {
    // The next way is tried after any error of the server before it accepts the login, and after a failure to set the
    // encryption up. It is not tried when the server closes the connection or answers nonsense to the request, and never
    // once the session is encrypted.
    if (cause instanceof ServerRefusal) return !cause.authenticated
    return cause instanceof NegotiationRefusal || cause instanceof GssNotOffered || cause instanceof GssSetupFailed
  }
  // libpq continues without TLS after a failed channel binding, which would serve an attacker in the middle.
  if (cause instanceof ServerRefusal) return !cause.authenticated && cause.advice?.code !== 'CHANNEL_BINDING_FAILED'
  if (!(cause instanceof PoolsmithError)) return false
  // libpq would have sent the password. Since it is not sent here, the attempt with encryption is still possible.
  if (way === 'plain') return cause.code === 'CLEARTEXT_REFUSED'
  return cause.phase === 'tls' && cause.code !== 'TLS_STUFFED'
}

/** A way that failed. */
export interface Failure {
  readonly way: Way
  readonly error: unknown
}

const NAMES: Readonly<Record<Way, string>> = { gss: 'with GSSAPI encryption', tls: 'with TLS', plain: 'without TLS' }

/** The error when all ways failed: the last one's, which also mentions earlier errors with another code. */
export function joined(failures: readonly Failure[]): unknown {
  let { error: last } = failures.at(-1) ?? {}
  for (const { way, error: first } of failures.slice(0, -1).reverse()) {
    if (!(last instanceof PoolsmithError) || !(first instanceof PoolsmithError)) return last
    if (last.code === first.code) continue
    // Under sslmode=allow TLS was the second choice, and the refusal of the first one is the matter.
    if (last.code === 'TLS_NOT_OFFERED' && way === 'plain') {
      last = first
      continue
    }
    last = last.with({
      message: `${last.message} (Before that, ${NAMES[way]}: ${first.message})`,
      details: { before: first.toJSON() },
    })
  }
  return last
}
