import { PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'
import type { Credential } from './credential.ts'

/** The secret of each kind, which must be a {@link Secret} so that it is never printed. */
const SECRETS: Readonly<Record<Credential['kind'], string | undefined>> = {
  password: 'password',
  token: 'token',
  certificate: 'privateKey',
  ntlm: 'password',
  gss: undefined,
}

/**
 * The result of a strategy's `fetch`, which JavaScript does not check.
 *
 * @throws PoolsmithError CREDENTIAL_INVALID that says what is wrong, and repeats no value
 */
export function validCredential(value: unknown): Credential {
  const problem = problemOf(value)
  if (problem === undefined) return value as Credential
  throw new PoolsmithError(`The strategy returned a credential that cannot be used: ${problem}.`, {
    code: 'CREDENTIAL_INVALID',
    phase: 'credential',
    hint: "Return { kind: 'password', identity, password: new Secret(text), issuedAt, expiresAt }, or another kind of Credential; times are in milliseconds since the epoch.",
  })
}

function problemOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null)
    return `it is ${value === null ? 'null' : `a value of type ${typeof value}`}`
  const given = value as Readonly<Record<string, unknown>>
  const { kind, identity, issuedAt, expiresAt } = given
  if (typeof kind !== 'string' || !Object.hasOwn(SECRETS, kind)) {
    return `kind is none of ${Object.keys(SECRETS).join(', ')}`
  }
  if (typeof identity !== 'string') return 'identity is not a text'
  if (!isTime(issuedAt)) return 'issuedAt is not a number of milliseconds'
  if (expiresAt !== undefined && !isTime(expiresAt)) return 'expiresAt is not a number of milliseconds'
  const name = SECRETS[kind as Credential['kind']]
  if (name === undefined) return undefined
  const secret = given[name]
  if (!(secret instanceof Secret)) return `${name} is not a Secret`
  const text: unknown = secret.reveal()
  if (typeof text !== 'string') return `${name} holds no text`
  if (kind === 'token' && (text === '' || /\p{Cc}/u.test(text))) return 'token is empty, or holds control characters'
  return text.includes('\0') ? `${name} holds a NUL character` : undefined
}

function isTime(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value)
}
