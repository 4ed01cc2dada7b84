import { federationError, plainWords } from './errors.ts'
import { ask, jsonOf, statusFailure, type Web } from './https.ts'

/** The place where the users of a domain log in, in Entra's own terms. */
export interface FederatedRealm {
  /** The WS-MetadataExchange document of the federation service. */
  readonly metadataUrl: URL
  /** The audience that an assertion must have, so that Entra accepts it. */
  readonly audience: string
}

/** The audience of the assertion when Entra names none (as in MSAL). */
const DEFAULT_AUDIENCE = 'urn:federation:MicrosoftOnline'

const INSTEAD =
  'use service_principal, managed_identity, workload_identity or default; for a SQL Server that takes the ticket itself, auth_method=kerberos'

/**
 * Asks Entra which service authenticates a user's domain (user realm discovery, as MSAL does it). The user need not exist.
 *
 * @param user `alice@example.com`
 */
export async function discoverRealm(authority: string, user: string, web: Web): Promise<FederatedRealm> {
  const url = new URL(`/common/userrealm/${encodeURIComponent(user)}?api-version=1.0`, authority)
  const step = 'realm'
  const subject = `The user realm of ${user} could not be had from ${url.host}`
  const question = { step, subject, url, headers: { accept: 'application/json' } } as const
  const answer = await ask(question, web)
  if (answer.status !== 200) throw statusFailure(question, answer)
  const realm = jsonOf(answer.text)
  if (realm === undefined) {
    throw federationError('FEDERATION_FAILED', `${subject}: the answer is not JSON.`, {
      step,
      hint: 'Check cloud and authority_host, and that nothing on the way answers in their place.',
    })
  }
  const kind = wordOf(realm.account_type) ?? 'unknown'
  const protocol = wordOf(realm.federation_protocol)
  const details = { user, accountType: kind, protocol }
  if (kind.toLowerCase() !== 'federated') {
    const known = kind.toLowerCase() === 'managed'
    throw federationError(
      'FEDERATION_MISSING',
      known
        ? `Entra itself keeps the passwords for the domain of ${user}, and takes no Kerberos ticket in their place.`
        : `Entra does not know the domain of ${user} (${plainWords(kind)}).`,
      {
        step,
        hint: known
          ? `azure_credential=integrated needs a domain that is federated with AD FS; otherwise ${INSTEAD}.`
          : 'Give the user as Entra knows it (`login`, name@domain): the realm of the ticket is not a domain there.',
        details,
      },
    )
  }
  const metadataUrl = wordOf(realm.federation_metadata_url)
  if (protocol?.toLowerCase() !== 'wstrust' || metadataUrl === undefined || !URL.canParse(metadataUrl)) {
    throw federationError(
      'FEDERATION_MISSING',
      `The domain of ${user} is federated by ${plainWords(protocol ?? 'an unnamed protocol')}, which takes no Kerberos ticket from a program.`,
      { step, hint: `azure_credential=integrated needs WS-Trust, as AD FS has it; otherwise ${INSTEAD}.`, details },
    )
  }
  return { metadataUrl: new URL(metadataUrl), audience: wordOf(realm.cloud_audience_urn) ?? DEFAULT_AUDIENCE }
}

function wordOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
