import { isError } from '../../any-error.ts'
import {
  credentialFailure,
  type Fault,
  faultOf,
  isTransient,
  messageOf,
  proxyFailure,
} from '../../credentials/failure.ts'
import { PoolsmithError } from '../../errors.ts'
import { retryAfterMillis } from '../../retry-after.ts'
import { redact, type Secret } from '../../secret.ts'
import { isLate, isNoRoute, metadataHint } from '../metadata.ts'
import { AnswerTooLong, type SupervisedRequest } from '../supervise.ts'

const SUBJECT = 'The Microsoft Entra token could not be fetched'

/** The outcome of the SDK's last request; the SDK's own errors often lose it. */
export interface AuthorityObservation {
  readonly status?: number | undefined
  readonly retryAfter?: string | undefined
  readonly error?: unknown
  /** The host, where it is a metadata service: those alone are asked without TLS. */
  readonly metadata?: string | undefined
}

export function lastOf(requests: readonly SupervisedRequest[]): AuthorityObservation {
  const last = requests.at(-1)
  if (last === undefined) return {}
  const { protocol, host, status, headers, error } = last
  return { status, retryAfter: headers?.['retry-after'], error, metadata: protocol === 'http:' ? host : undefined }
}

const NEEDS_SECOND_FACTOR =
  'The account needs a second factor, which neither a password nor a Kerberos ticket gives: use interactive or device_code, or a service principal.'

/** Entra's error codes that a configuration causes (Microsoft Learn, "Microsoft Entra authentication and authorization error codes"). */
const HINTS: Readonly<Record<string, string>> = {
  '7000215': "client_secret is wrong: give the secret's value (not its id), and check that it is this application's.",
  '7000222': 'client_secret has expired: make a new one for the application in Entra.',
  '700016': 'client_id is not known in this tenant: check client_id and tenant_id.',
  '90002': 'tenant_id is not known in this cloud: check tenant_id and cloud.',
  '900023': 'tenant_id is neither a tenant id nor a domain.',
  '500011':
    'The tenant does not know the resource of the scope: check cloud and scope; the tenant may never have used this database service.',
  '700027':
    "The certificate is not the application's: register client_certificate_path's certificate for client_id in Entra.",
  '700024': "The workload's token is not valid now: check this machine's clock, and that the token file is renewed.",
  '700211': "The application trusts no such issuer: add the workload's issuer as a federated credential.",
  '700212': "The application trusts no such audience: check the federated credential's audience.",
  '700213':
    "The application has no federated credential for this subject: check the workload's namespace and service account.",
  '7000112': 'The application is disabled in this tenant.',
  '53003': 'A conditional access policy of the tenant blocks this sign-in.',
  '50008':
    'Entra does not take the assertion: the signing certificate of AD FS may have changed since Entra was told of it, or the clocks differ.',
  '50107':
    "The assertion's issuer is not the one that Entra knows for this domain: check the domain's federation settings.",
  '50034': 'The user does not exist in this tenant.',
  '50053': 'The account is locked after too many wrong passwords: wait, or have it unlocked.',
  '50055': "The user's password has expired: set a new one first.",
  '50057': 'The account is disabled in Entra.',
  '50076': NEEDS_SECOND_FACTOR,
  '50079': NEEDS_SECOND_FACTOR,
  '50126': "The person's name or password is wrong, or the account is one that only its own identity provider knows.",
  '65001': 'The application has no consent to act for people here: grant it in Entra, or leave client_id out.',
  '65004': 'The person said no; sign in again to say yes.',
  '7000218':
    "The application takes people only with a secret: in Entra, set 'Allow public client flows' for client_id.",
}

/** An error of @azure/identity or of MSAL underneath, as ours. */
export function azureFailure(
  error: unknown,
  observation: AuthorityObservation,
  secrets: readonly (Secret | undefined)[],
): PoolsmithError {
  if (observation.error instanceof PoolsmithError) {
    return observation.error.with({ message: `${SUBJECT}: ${observation.error.message}` })
  }
  const onTheWay = proxyFailure(SUBJECT, error)
  if (onTheWay !== undefined) return onTheWay
  const fault = faultSeen(error, observation)
  const wait = retryAfterMillis(observation.retryAfter)
  const details = {
    ...(fault.status === undefined ? {} : { status: fault.status }),
    ...(wait === undefined ? {} : { retryAfterMillis: wait }),
  }
  const entra = entraError(error)
  const { metadata } = observation
  if (isTransient(fault) || (metadata !== undefined && isLate(fault))) {
    // MSAL writes "Not Available" several times when the answer was no JSON.
    const asked = metadata === undefined ? 'the token endpoint' : `the metadata service ${metadata}`
    const shown = observation.error ?? new Error(entra?.text ?? `${asked} answered HTTP ${observation.status}`)
    const hint = metadata === undefined ? undefined : metadataHint(metadata)
    return credentialFailure(SUBJECT, shown, { code: 'CREDENTIAL_FAILED', transient: true, hint, secrets, details })
  }
  if (entra !== undefined) {
    return credentialFailure(SUBJECT, new Error(redact(entra.text, secrets)), {
      code: 'CREDENTIAL_REFUSED',
      transient: false,
      hint: HINTS[entra.code] ?? `Look up AADSTS${entra.code} at https://login.microsoftonline.com/error`,
      details: { ...details, aadsts: Number(entra.code) },
    })
  }
  const unavailable = isUnavailable(error)
  // An error below HTTP that is none of the network is one of ours, and says more than the SDK: an endless answer.
  const cause = fault.kind === 'other' ? observation.error : undefined
  const missing = unavailable && fault.kind === 'other' && cause === undefined
  const refused = fault.kind === 'refused'
  return credentialFailure(SUBJECT, cause ?? error, {
    code: missing ? 'CREDENTIAL_MISSING' : refused ? 'CREDENTIAL_REFUSED' : undefined,
    transient: false,
    secrets,
    details: { ...details, ...triedBy(error, secrets) },
    ...(missing || refused ? { hint: unavailable ? MISSING_HINT : REFUSED_HINT } : {}),
  })
}

function faultSeen(error: unknown, observation: AuthorityObservation): Fault {
  // No metadata service here, in the chain that looks for any identity: nothing that passes.
  if (isChain(error) && observation.metadata !== undefined && isNoRoute(observation.error)) return { kind: 'other' }
  // An SDK may make a fault of the network of it.
  if (observation.error instanceof AnswerTooLong) return { kind: 'other' }
  const seen = observation.error === undefined ? faultOf({ status: observation.status }) : faultOf(observation.error)
  return seen.kind === 'other' ? faultOf(error) : seen
}

const MISSING_HINT =
  'No identity was found here. Give client_id, tenant_id and client_secret (or client_certificate_path), assign a managed identity to this machine, or run `az login`.'

const REFUSED_HINT =
  'The token endpoint turned the request down: check client_id, tenant_id and cloud; for a managed identity, that it is assigned to this machine.'

function isUnavailable(error: unknown): boolean {
  return isChain(error) || (isError(error) && error.name === 'CredentialUnavailableError')
}

function isChain(error: unknown): boolean {
  return isError(error) && error.name === 'AggregateAuthenticationError'
}

/** The message of each credential of the default chain. */
function triedBy(error: unknown, secrets: readonly (Secret | undefined)[]): { tried?: readonly string[] } {
  const parts = typeof error === 'object' && error !== null && 'errors' in error ? error.errors : undefined
  return Array.isArray(parts) ? { tried: parts.map((part) => redact(messageOf(part), secrets)) } : {}
}

function entraError(error: unknown): { code: string; text: string } | undefined {
  const text = isError(error) ? error.message : messageOf(error)
  const match = /AADSTS(\d+)\b:?[^\n]*/.exec(text)
  if (match === null) return undefined
  // The rest is ids for Microsoft's support, one line each or all in one.
  return { code: match[1] as string, text: match[0].replace(/\s*Trace ID:.*$/, '').trim() }
}
