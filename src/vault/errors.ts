/** The meaning of Vault's answers: https://developer.hashicorp.com/vault/api-docs#http-status-codes */

import { type ErrorCode, PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { retryAfterMillis } from '../retry-after.ts'
import type { StoreAnswer } from './https.ts'
import { isRecord } from './json.ts'
import type { Query } from './query.ts'

interface Refusal {
  readonly vault: string
  readonly query: Query
  readonly answer: StoreAnswer
  readonly body: Readonly<Record<string, unknown>> | undefined
  /** Takes the secrets of the request out of a text. */
  readonly hide: (text: string) => string
}

interface Meaning {
  readonly code: ErrorCode
  readonly transient: boolean
  readonly hint: string
}

const LATER = { code: 'STORE_FAILED', transient: true } as const

export const CONFLICT_HINT = 'Read the secret again, and decide on its present version.'
const CONFLICT: Meaning = { code: 'SECRET_CONFLICT', transient: false, hint: CONFLICT_HINT }

const MEANINGS: Readonly<Record<number, Meaning>> = {
  400: {
    code: 'STORE_REFUSED',
    transient: false,
    hint: 'Check the role and what proves it: a secret id may have been used up, a token may be for another audience.',
  },
  401: {
    code: 'STORE_REFUSED',
    transient: false,
    hint: 'The Kerberos ticket is refused: the keytab of Vault may be older than the key of its principal, or the clocks differ.',
  },
  412: { ...LATER, hint: 'The node is behind the one that was written to; the request is made again.' },
  429: { ...LATER, hint: 'Vault asks for fewer requests: raise the rate limit quota, or secrets_ttl.' },
  472: { ...LATER, hint: 'It is a secondary for disaster recovery: set vault_addr to the primary.' },
  473: { ...LATER, hint: 'It is a performance standby: set vault_addr to the active node.' },
  501: { ...LATER, hint: 'Vault is not initialised: run `vault operator init`.' },
  503: {
    code: 'STORE_SEALED',
    transient: true,
    hint: 'Unseal Vault, or wait until its maintenance has ended; the request is made again.',
  },
}

/** The error of an answer other than success. */
export function failureOf({ vault, query, answer, body, hide }: Refusal): PoolsmithError {
  const { status, headers } = answer
  const said = textsIn(body?.errors) || textsIn(body?.warnings)
  const isConflict = status === 400 && said.includes('check-and-set parameter did not match')
  const { code, transient, hint } = isConflict
    ? CONFLICT
    : status === 404
      ? missing(query, body, said)
      : meaningOf(status, query, body)
  const aheadMillis = clockAhead(headers.date)
  const words = said === '' ? '' : `: ${printable(hide(said.trim()), 300)}`
  const wait = retryAfterMillis(headers['retry-after'])
  const deleted = status === 404 ? deletedVersion(body) : undefined
  const message =
    deleted === undefined
      ? `${vault} could not ${query.step} (HTTP ${status})${words}`
      : `${vault} could not ${query.step}: ${deleted.what}`
  return new PoolsmithError(`${message}.`.replace(/\.\.$/, '.'), {
    code: deleted === undefined ? code : 'SECRET_DELETED',
    phase: 'credential',
    transient,
    hint:
      deleted === undefined ? `${hint}${clockWords(aheadMillis)}` : 'Undelete the version, or write the secret anew.',
    details: {
      status,
      path: query.path,
      ...(deleted && { version: deleted.version }),
      ...(wait === undefined ? {} : { retryAfterMillis: wait }),
      ...(aheadMillis === 0 ? {} : { clockAheadMillis: aheadMillis }),
    },
  })
}

function textsIn(list: unknown): string {
  return Array.isArray(list) ? list.filter((text) => typeof text === 'string').join('; ') : ''
}

/** From this difference on, signatures and tokens of this machine are refused as old or as of the future. */
const SKEW_MILLIS = 240_000

/** How far the clock of this machine is ahead of Vault's, in milliseconds; 0 where they agree well enough. */
function clockAhead(date: string | undefined): number {
  const ahead = Date.now() - Date.parse(date ?? '')
  return Math.abs(ahead) >= SKEW_MILLIS ? ahead : 0
}

function clockWords(aheadMillis: number): string {
  const minutes = Math.round(Math.abs(aheadMillis) / 60_000)
  return minutes === 0 ? '' : ` The clock of this machine differs from Vault's by ${minutes} minutes.`
}

function meaningOf(status: number, { path }: Query, body: Refusal['body']): Meaning {
  if (status === 503 && !Array.isArray(body?.errors)) {
    return {
      ...LATER,
      hint: 'It is no answer of Vault: a load balancer may have no node behind it. It is asked again.',
    }
  }
  if (status === 400 && !isLogin(path)) {
    const hint = `Check the options that lead to ${path}: the mount, and the role or the key behind it.`
    return { code: 'STORE_REFUSED', transient: false, hint }
  }
  const known = MEANINGS[status]
  if (known !== undefined) return known
  if (status === 403 && isLogin(path)) {
    const hint = 'Check vault_auth, vault_auth_mount, the namespace, and the role with what proves it.'
    return { code: 'STORE_REFUSED', transient: false, hint }
  }
  if (status === 403) {
    return {
      code: 'STORE_REFUSED',
      transient: false,
      hint: `The token has expired or was revoked, or its policy does not allow ${path}.`,
    }
  }
  if (status === 408 || status >= 500)
    return { ...LATER, hint: 'The fault is on the side of Vault; it is asked again.' }
  return { code: 'STORE_FAILED', transient: false, hint: 'See the log of Vault for the request.' }
}

/** Whether a request is a part of a login; those below `auth/token/` are about a token that there is already. */
function isLogin(path: string): boolean {
  return /^(auth\/(?!token\/)|sys\/wrapping\/)/.test(path)
}

/** A path that Vault does not have differs from one that leads to no engine, and from the page of another server. */
function missing({ path }: Query, body: Refusal['body'], said: string): Meaning {
  if (said.includes('versioned K/V')) {
    const hint = 'The engine has version 2: leave vault_kv_version (in Airflow kv_engine_version) out, or set it to 2.'
    return { code: 'STORE_REFUSED', transient: false, hint }
  }
  if (!Array.isArray(body?.errors) && !isRecord(body?.data)) {
    const hint = 'A proxy or a web page may stand in place of Vault: check vault_addr.'
    return { code: 'STORE_ANSWER_UNUSABLE', transient: false, hint }
  }
  if (path.startsWith('auth/')) {
    return { code: 'STORE_REFUSED', transient: false, hint: 'Check vault_auth, vault_auth_mount and the namespace.' }
  }
  if (said.includes('no handler for route')) {
    return {
      code: 'STORE_REFUSED',
      transient: false,
      hint: 'No engine is mounted there: check the mount and the namespace.',
    }
  }
  return { code: 'SECRET_MISSING', transient: false, hint: 'Check the mount, the path and the namespace.' }
}

/** Vault answers 404 for a version that was deleted too, with a body that says when; undefined for any other. */
function deletedVersion(body: Refusal['body']): { readonly version: unknown; readonly what: string } | undefined {
  const metadata = isRecord(body?.data) && isRecord(body.data.metadata) ? body.data.metadata : undefined
  if (metadata === undefined) return undefined
  const { version, destroyed, deletion_time: deletedAt } = metadata
  const when = typeof deletedAt === 'string' && deletedAt !== '' ? ` at ${printable(deletedAt, 40)}` : ''
  const what = `version ${printable(String(version), 20)} was ${destroyed === true ? 'destroyed' : `deleted${when}`}`
  return { version, what }
}

/** The error of a redirection that is not followed. */
export function redirected(
  vault: string,
  to: URL | undefined,
  { isNode, isSafe }: { readonly isNode: boolean; readonly isSafe: boolean },
): PoolsmithError {
  const place = to === undefined ? 'an address that cannot be read' : `${to.protocol}//${to.host}`
  const why = !isSafe
    ? 'where the token would be sent unencrypted'
    : isNode
      ? 'again and again, or by a status that changes the request'
      : 'which is not known as one of its nodes'
  return new PoolsmithError(`${vault} redirects to ${place}, ${why}.`, {
    code: 'STORE_REDIRECTED',
    phase: 'credential',
    hint: 'Set vault_addr to the active node or the load balancer, or name the hosts of its nodes in vault_nodes.',
    details: to === undefined ? {} : { host: to.host },
  })
}
