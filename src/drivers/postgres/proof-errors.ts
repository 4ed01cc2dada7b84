/** The errors of a login, and what the refusals of a server mean where the login knows more than the server tells. */

import { PoolsmithError } from '../../errors.ts'
import { targetName } from '../../kerberos/gss-api.ts'
import type { KerberosInfo } from '../driver.ts'
import type { GssIdentity } from './gss-identity.ts'
import { ScramFailure } from './scram.ts'
import type { Advice } from './server-error.ts'

/** AuthenticationXXX codes of Kerberos logins. */
export const GSS = 7
export const SSPI = 9

const NAMES: Readonly<Record<number, string>> = {
  2: 'Kerberos 5',
  6: 'SCM credentials',
  [GSS]: 'GSSAPI',
  [SSPI]: 'SSPI',
}

/**
 * The server's routines that find that the two ends do not see the same TLS session, or that somebody took the offer of
 * channel binding out (both 28000, src/backend/libpq/auth-scram.c). Their messages are translated, their names are not.
 */
const TLS_CHECKS: ReadonlySet<string> = new Set(['read_client_final_message', 'read_client_first_message'])

export const OTHER_TLS: Advice = {
  code: 'CHANNEL_BINDING_FAILED',
  hint:
    'The server sees another TLS session than we do: somebody between us may be reading along. Use sslmode=verify-full. ' +
    'Where a proxy of your own ends TLS on the way, set channel_binding=disable.',
}

/** Whether the server refused a login because its channel binding does not fit the TLS session. */
export function foundOtherTls(fields: Readonly<Record<string, string>>): boolean {
  return TLS_CHECKS.has(fields.R ?? '')
}

/** How far the Kerberos side of a login came. */
interface KerberosProgress {
  readonly user: string
  readonly identity: GssIdentity
  /** The session is encrypted by GSSAPI. */
  readonly encrypted: boolean
  /** The server asked for a Kerberos login. */
  readonly begun: boolean
  /** Both ends, where they have proved who they are. */
  readonly peers: KerberosInfo | undefined
}

/** Where Kerberos has a part the server tells little, and its log says the rest. */
export function kerberosAdvice(
  fields: Readonly<Record<string, string>>,
  { user, identity, encrypted, begun, peers }: KerberosProgress,
): Advice | undefined {
  if (fields.R === 'InitializeSessionUserId') return undefined
  if (fields.R === 'ClientAuthentication') {
    const line = `\`${encrypted ? 'hostgssenc' : 'host'} DATABASE ${user} ADDRESS gss include_realm=0\``
    return {
      code: 'LOGIN_NOT_ADMITTED',
      hint: `No line of pg_hba.conf admits ${user} ${encrypted ? 'encrypted by' : 'with'} Kerberos: add ${line} there, or compare gssencmode and sslmode with the lines that there are.`,
    }
  }
  if (peers !== undefined) {
    return {
      code: 'LOGIN_REFUSED',
      hint:
        `The server knows that we are ${peers.principal}, but does not let that ` +
        `principal in as ${user}: see map=, include_realm and krb_realm of its line in pg_hba.conf, pg_ident.conf, and ` +
        'the server log.',
    }
  }
  if (!begun) return undefined
  return {
    code: 'GSS_SERVER_REFUSED',
    hint:
      `The server could not use our ticket for ${targetName(identity.target)}: its krb_server_keyfile is old, of another ` +
      'name or unreadable for it; its log says which.',
  }
}

export function unsupported(code: number): PoolsmithError {
  const gss = code === GSS || code === SSPI
  return failure(
    'AUTH_METHOD_UNSUPPORTED',
    `The server asks for the login method ${NAMES[code] ?? 'unknown'} (code ${code}), which this login does not speak.`,
    {
      hint: gss
        ? 'Use auth_method=kerberos, or a line of pg_hba.conf with another method for this user.'
        : 'Let pg_hba.conf ask this user for scram-sha-256, cert or gss.',
      details: { authenticationCode: code },
    },
  )
}

/** Runs a step of SCRAM and tells its failures apart. */
export async function guarded<T>(step: () => T | Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (cause) {
    if (!(cause instanceof ScramFailure)) throw cause
    if (cause.reason === 'signature') {
      throw failure('SERVER_NOT_GENUINE', `SCRAM login failed: ${cause.message}.`, {
        hint: 'Somebody may be posing as the server; check the host, and use sslmode=verify-full.',
        cause,
      })
    }
    throw failure('SCRAM_FAILED', `SCRAM login failed: ${cause.message}.`, {
      hint: 'The server does not follow the protocol; is it PostgreSQL, and the one that you mean?',
      cause,
    })
  }
}

export function failure(
  code: PoolsmithError['code'],
  message: string,
  options: { hint: string; cause?: unknown; details?: Record<string, unknown> },
): PoolsmithError {
  return new PoolsmithError(message, { code, phase: 'login', ...options })
}
