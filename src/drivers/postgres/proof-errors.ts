/** The errors of a login, and the meaning of refusals where the state of the login says more than the server's error. */

import type { Credential, TokenCredential } from '../../credentials/credential.ts'
import { PoolsmithError } from '../../errors.ts'
import { targetName } from '../../kerberos/gss-api.ts'
import { printable } from '../../printable.ts'
import type { KerberosInfo } from '../driver.ts'
import { type Advice, CERTIFICATE_HINT } from './advice.ts'
import type { GssIdentity } from './gss-identity.ts'
import { ScramFailure } from './scram.ts'

/** The codes of authentication requests for Kerberos logins. */
export const GSS = 7
export const SSPI = 9

const NAMES: Readonly<Record<number, string>> = {
  2: 'Kerberos 5',
  6: 'SCM credentials',
  [GSS]: 'GSSAPI',
  [SSPI]: 'SSPI',
}

/**
 * The routines of the server that detect two different TLS sessions, or that the offer of channel binding was removed on
 * the way (SQLSTATE 28000, src/backend/libpq/auth-scram.c). Their messages are translated, their names are not.
 */
const TLS_CHECKS: ReadonlySet<string> = new Set(['read_client_final_message', 'read_client_first_message'])

export const OTHER_TLS: Advice = {
  code: 'CHANNEL_BINDING_FAILED',
  hint:
    'The TLS session of the server is not the one of this machine: a machine in between may read and change everything. ' +
    'Use sslmode=verify-full. If a proxy of your own terminates TLS, set channel_binding=disable.',
}

/** Whether the server refused a login because its channel binding does not match the TLS session. */
export function foundOtherTls(fields: Readonly<Record<string, string>>): boolean {
  return TLS_CHECKS.has(fields.R ?? '')
}

/** The routine of the server that reports a refused proof, whatever the method (src/backend/libpq/auth.c). */
const REFUSED_PROOF = 'auth_failed'
const CERTIFICATE: Advice = {
  code: 'LOGIN_REFUSED',
  hint: CERTIFICATE_HINT,
}

/** The meaning of a refused certificate or token: the password is not the matter. */
export function credentialAdvice(
  fields: Readonly<Record<string, string>>,
  credential: Credential,
  user: string,
): Advice | undefined {
  // RDS names a routine of its own; pg_hba.conf and a missing role have other ones.
  if (fields.R === 'ClientAuthentication' || fields.R === 'InitializeSessionUserId') return undefined
  if (credential.kind === 'certificate')
    return fields.R === REFUSED_PROOF && fields.C === '28000' ? CERTIFICATE : undefined
  if (credential.kind !== 'token') return undefined
  return { code: 'LOGIN_REFUSED', hint: isIam(credential) ? iamHint(user) : entraHint(user) }
}

/** A token of RDS is a signed URL, one of Entra three parts of Base64. */
function isIam({ token }: TokenCredential): boolean {
  return token.reveal().includes('X-Amz-Signature')
}

function iamHint(user: string): string {
  return (
    `Check four things: GRANT rds_iam TO ${quoted(user)} was run (alone: with rds_iam no password works); IAM authentication is on for ` +
    'this instance or cluster; the identity has rds-db:connect for its resource id and this user; and the token is for ' +
    'the host, port and region of the database itself (set `rds_endpoint` behind a tunnel or an alias, and `region`).'
  )
}

function entraHint(user: string): string {
  return (
    `Check three things: the login is the name of the Entra role exactly (${quoted(user)}; pgaadauth_create_principal made it, ` +
    'and the name of a group stands for its members); the token is of the tenant of the server (`tenant_id`) and of the ' +
    'identity that is meant (`client_id`); and Entra authentication is on for this server.'
  )
}

const quoted = (name: string): string => `"${printable(name, 63)}"`

/** The progress of the Kerberos part of a login. */
interface KerberosProgress {
  readonly user: string
  readonly identity: GssIdentity
  /** The session is encrypted by GSSAPI. */
  readonly encrypted: boolean
  /** The server has asked for a Kerberos login. */
  readonly begun: boolean
  /** Both ends, where they have proved their identity. */
  readonly peers: KerberosInfo | undefined
}

/** The meaning of a refusal of a Kerberos login. The server's error says little; its log says more. */
export function kerberosAdvice(
  fields: Readonly<Record<string, string>>,
  { user, identity, encrypted, begun, peers }: KerberosProgress,
): Advice | undefined {
  if (fields.R === 'InitializeSessionUserId') return undefined
  if (fields.R === 'ClientAuthentication') {
    const line = `\`${encrypted ? 'hostgssenc' : 'host'} DATABASE ${user} ADDRESS gss include_realm=0\``
    return {
      code: 'LOGIN_NOT_ADMITTED',
      hint: `No line of pg_hba.conf admits ${user} ${encrypted ? 'encrypted by' : 'with'} Kerberos. Add ${line}, or compare gssencmode and sslmode with the existing lines.`,
    }
  }
  if (peers !== undefined) {
    return {
      code: 'LOGIN_REFUSED',
      hint:
        `The server has verified the principal ${peers.principal}, but does not accept it as ${user}. Check map=, ` +
        'include_realm and krb_realm in the line of pg_hba.conf, pg_ident.conf, and the log of the server.',
    }
  }
  if (!begun) return undefined
  return {
    code: 'GSS_SERVER_REFUSED',
    hint:
      `The server could not use the ticket for ${targetName(identity.target)}. Check its krb_server_keyfile: it may be ` +
      'outdated, of another name or unreadable. The log of the server says which.',
  }
}

export function unsupported(code: number): PoolsmithError {
  const gss = code === GSS || code === SSPI
  return failure(
    'AUTH_METHOD_UNSUPPORTED',
    `The server asks for the login method ${NAMES[code] ?? 'unknown'} (code ${code}), which this login does not support.`,
    {
      hint: gss
        ? 'Use auth_method=kerberos, or another method in the line of pg_hba.conf for this user.'
        : 'Set the method for this user in pg_hba.conf to scram-sha-256, cert or gss.',
      details: { authenticationCode: code },
    },
  )
}

/** RFC 5929 defines the binding by the hash function of the signature, and Ed25519 and Ed448 have none. */
export function unboundSignature(): PoolsmithError {
  return failure(
    'CHANNEL_BINDING_FAILED',
    'channel_binding=require, but the certificate of the server is signed in a way for which no channel binding is defined.',
    {
      hint:
        'Have the server given a certificate that is signed with RSA or ECDSA (Ed25519 and Ed448 have no channel binding), ' +
        'or use channel_binding=prefer with sslmode=verify-full.',
    },
  )
}

/** Runs one step of SCRAM and converts its failures. */
export async function guarded<T>(step: () => T | Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (cause) {
    if (!(cause instanceof ScramFailure)) throw cause
    if (cause.reason === 'signature') {
      throw failure('SERVER_NOT_GENUINE', `SCRAM login failed: ${cause.message}.`, {
        hint: 'Another machine may be posing as the server; check the host, and use sslmode=verify-full.',
        cause,
      })
    }
    if (cause.reason === 'iterations') {
      throw failure('SCRAM_FAILED', `SCRAM login failed: ${cause.message}.`, {
        hint: 'Lower scram_iterations on the server and set the password of the role again. If its password has fewer iterations, another machine may be posing as the server.',
        cause,
      })
    }
    throw failure('SCRAM_FAILED', `SCRAM login failed: ${cause.message}.`, {
      hint: 'The server does not follow the protocol. Check that host and port lead to the intended PostgreSQL server.',
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
