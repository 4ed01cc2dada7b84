/** The meaning of Key Vault's answers: https://learn.microsoft.com/azure/key-vault/general/rest-error-codes */

import { isError } from '../../any-error.ts'
import { credentialFailure, faultOf, messageOf, proxyFailure } from '../../credentials/failure.ts'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { retryAfterMillis } from '../../retry-after.ts'
import { redact, type Secret } from '../../secret.ts'
import { AnswerTooLong, type SupervisedRequest } from '../../strategies/supervise.ts'
import { isRecord } from '../../vault/json.ts'

interface Refusal {
  /** With the port, where it is another than 443. */
  readonly vault: string
  /** Completes "could not". */
  readonly step: string
  readonly requests: readonly SupervisedRequest[]
  readonly secrets: readonly (Secret | undefined)[]
}

interface Meaning {
  readonly code: ErrorCode
  readonly transient?: true
  readonly hint: string
}

/** Whether the vault has no such secret or version. */
export function isNotFound(error: unknown): error is PoolsmithError {
  return error instanceof PoolsmithError && error.code === 'SECRET_MISSING'
}

/** An error of @azure/keyvault-secrets, as ours. Nothing of it is kept: it holds the request. */
export function keyVaultFailure(error: unknown, { vault, step, requests, secrets }: Refusal): PoolsmithError {
  const subject = `The Key Vault ${vault}`
  const last = requests.findLast(({ host }) => host === vault)
  // The error of a token is one of the strategy's own.
  const ours = last?.error ?? error
  const onTheWay = proxyFailure(subject, ours)
  if (onTheWay !== undefined) return onTheWay
  if (isError(error) && error.message.startsWith('The challenge ')) return foreign(error, subject, vault)
  if (last?.error !== undefined || last?.status === undefined) return unreachable(ours, subject, vault, secrets)
  const { status, headers } = last
  const { code: name, inner, words } = saidBy(error)
  const retry = retryAfterMillis(headers?.['retry-after'])
  const { code, transient, hint } = meaningOf(status, name, inner)
  const said = printable(redact(words, secrets), 300).replace(/\.$/, '')
  return new PoolsmithError(`${subject} could not ${step} (HTTP ${status}): ${said}.`, {
    code,
    phase: 'credential',
    transient,
    hint,
    details: { status, host: vault, ...(retry === undefined ? {} : { retryAfterMillis: retry }) },
  })
}

function unreachable(
  error: unknown,
  subject: string,
  host: string,
  secrets: readonly (Secret | undefined)[],
): PoolsmithError {
  const common = { phase: 'credential', details: { host } } as const
  if (error instanceof AnswerTooLong) {
    return new PoolsmithError(`${subject}: ${error.message}.`, {
      ...common,
      code: 'STORE_ANSWER_UNUSABLE',
      hint: 'See what answers in place of Key Vault.',
    })
  }
  const { code: network } = faultOf(error)
  if (network === 'ETIMEDOUT') {
    return new PoolsmithError(`${subject} did not answer: ${messageOf(error)}.`, {
      ...common,
      code: 'STORE_TIMEOUT',
      transient: true,
      hint: `Check that ${host} can be reached from here (DNS, firewall, proxy, private endpoint).`,
    })
  }
  return credentialFailure(`${subject} cannot be reached`, error, {
    code: 'STORE_UNREACHABLE',
    transient: network !== undefined,
    hint: `Check the name of the vault, and that ${host} can be reached from here (DNS, firewall, proxy, private endpoint).`,
    secrets,
    details: common.details,
  })
}

/** The SDK verifies that a vault asks for a token of its own domain. */
function foreign(error: Error, subject: string, host: string): PoolsmithError {
  const [words] = error.message.split('. ', 1)
  return new PoolsmithError(`${subject} asks for a token of another domain: ${printable(words ?? '', 300)}.`, {
    code: 'STORE_REFUSED',
    phase: 'credential',
    hint: 'No token was sent. See what answers at this address in place of Key Vault.',
    details: { host },
  })
}

/** The error of an answer that has no value. */
export function withoutValue(place: string): PoolsmithError {
  return new PoolsmithError(`${place} was answered without a value.`, {
    code: 'STORE_ANSWER_UNUSABLE',
    phase: 'credential',
    hint: 'See what answers in place of Key Vault: a proxy or a login page.',
  })
}

function saidBy(error: unknown): { code: string; inner: string; words: string } {
  const { code, details } = isRecord(error) ? error : {}
  const body = isRecord(details) && isRecord(details.error) ? details.error : {}
  const within = body.innerError ?? body.innererror
  const inner = isRecord(within) ? within.code : undefined
  const ofSdk = isError(error) ? messageOf(error) : String(error)
  // The SDK stumbles over the page of a proxy.
  const isFault = isError(error) && ['TypeError', 'SyntaxError'].includes(error.name)
  const words = typeof body.message === 'string' ? body.message : isFault ? 'an answer without words of Azure' : ofSdk
  return { code: String(body.code ?? code ?? ''), inner: String(inner ?? ''), words }
}

function meaningOf(status: number, name: string, inner: string): Meaning {
  if (status >= 300 && status < 400) {
    return { code: 'STORE_REDIRECTED', hint: 'Redirections are never followed: see what answers at this address.' }
  }
  if (status === 401) {
    const hint = 'The token is of another tenant than the vault, or for another audience: check tenant_id and cloud.'
    return { code: 'STORE_REFUSED', hint }
  }
  if (status === 403 && inner === 'SecretDisabled') {
    return { code: 'SECRET_DELETED', hint: 'The version is disabled: enable it, or write the secret anew.' }
  }
  if (status === 403 && /firewall|connection/i.test(inner)) {
    return { code: 'STORE_REFUSED', hint: "The vault's firewall does not allow this address; use a private endpoint." }
  }
  if (status === 403) {
    return { code: 'STORE_REFUSED', hint: 'Give the identity the role Key Vault Secrets User on the secret.' }
  }
  if (status === 404 && name === 'SecretNotFound') {
    return { code: 'SECRET_MISSING', hint: 'Check the names of the vault and the secret, and the version.' }
  }
  if (status === 409) {
    return { code: 'SECRET_DELETED', hint: 'A deleted secret has this name: recover it, or purge it first.' }
  }
  if (status === 429) {
    const hint = 'Key Vault asks for fewer requests; it is asked again more slowly. Raise secrets_ttl.'
    return { code: 'STORE_FAILED', transient: true, hint }
  }
  if (status === 408 || status >= 500) {
    return { code: 'STORE_FAILED', transient: true, hint: 'The fault is on the side of Key Vault; it is asked again.' }
  }
  if (status < 300 || status === 404) {
    return { code: 'STORE_ANSWER_UNUSABLE', hint: 'See what answers in place of Key Vault: a proxy or a login page.' }
  }
  return { code: 'STORE_FAILED', hint: "See the request in the vault's diagnostic log." }
}
