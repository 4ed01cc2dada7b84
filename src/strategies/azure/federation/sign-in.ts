/**
 * A Kerberos ticket traded for a token of Entra: Integrated Windows Authentication, as MSAL and Microsoft's drivers
 * have it (`ActiveDirectoryIntegrated`). Entra names the federation service (AD FS) of the user's domain. That service
 * issues an assertion for the ticket by WS-Trust, and Entra issues a token for the assertion.
 */

import { errorText } from '../../../any-error.ts'
import { openCredential } from '../../../kerberos/ensure-ticket.ts'
import { loadGssApi } from '../../../kerberos/load-gss-api.ts'
import { KDC_LIMIT_MILLIS } from '../../kerberos/ticket-cache.ts'
import type { RequestAgents } from '../../strategy.ts'
import { ANY_TENANT, authorityOf, PUBLIC_CLIENT } from '../cloud.ts'
import type { AzureOptions } from '../fields.ts'
import { federationError } from './errors.ts'
import { type Answer, type Question, statusFailure, type Web } from './https.ts'
import { discoverEndpoint, type TrustEndpoint } from './metadata.ts'
import { TRUST } from './namespaces.ts'
import { askByTicket } from './negotiate.ts'
import { discoverRealm } from './realm.ts'
import { type FederatedToken, tradeAssertion } from './token.ts'
import { type Assertion, assertionIn, assertionRequest, faultIn } from './ws-trust.ts'
import { loadXmlReader, type XmlElement, type XmlReader } from './xml.ts'

export interface TicketSignIn {
  /** The connection's login: the user's name in Entra where it looks like one. */
  readonly login: string | undefined
  /** Where the ticket is; undefined leaves the choice to krb5. */
  readonly cache: string | undefined
  readonly agents: RequestAgents | undefined
}

/** @returns a function that throws PoolsmithError, and an Error with Entra's words where Entra refuses the assertion */
export async function ticketSignIn(
  options: AzureOptions,
  scope: string,
  { login, cache, agents }: TicketSignIn,
): Promise<(attempt: { readonly signal: AbortSignal }) => Promise<FederatedToken>> {
  const read = await loadXmlReader('azure_credential=integrated')
  const gss = await loadGssApi()
  const authority = options.authority_host ?? authorityOf(options.cloud)
  const { keytab, azure_username: name = login?.includes('@') ? login : undefined } = options
  let { principal } = options

  return async ({ signal }) => {
    const web: Web = { signal, limitMillis: options.credential_timeout * 1000, agent: agents?.https }
    using credential = await openCredential(
      gss,
      { principal, cache, keytab },
      { signal: AbortSignal.any([signal, AbortSignal.timeout(KDC_LIMIT_MILLIS)]), mechanism: 'spnego' },
    )
    const { principal: identity } = credential.ticket
    // Once known it stays: when the cache of a pool gets another owner, that is an error and not a change of user.
    principal ??= identity
    const realm = await discoverRealm(authority, name ?? identity, web)
    const endpoint = await discoverEndpoint(realm.metadataUrl, read, web)
    using context = gss.initContext({
      target: { service: 'HTTP', host: endpoint.url.hostname },
      flags: ['mutual', 'integrity'],
      credential: credential.handle,
      mechanism: 'spnego',
    })
    const question = assertionQuestion(endpoint, realm.audience)
    const answer = await askByTicket(question, context, identity, web)
    const assertion = assertionOf(answer, question, endpoint, identity, read)
    const { tenant_id: tenant = ANY_TENANT, client_id: clientId = PUBLIC_CLIENT } = options
    return tradeAssertion(assertion, { authority, tenant, clientId, scope }, web)
  }
}

function assertionQuestion(endpoint: TrustEndpoint, audience: string): Question {
  return {
    step: 'assertion',
    subject: `${endpoint.url.host} gave no assertion for the Kerberos ticket`,
    url: endpoint.url,
    headers: { 'content-type': 'application/soap+xml; charset=utf-8', soapaction: TRUST[endpoint.version].action },
    body: assertionRequest(endpoint, audience),
  }
}

function assertionOf(
  answer: Answer,
  question: Question,
  { version }: TrustEndpoint,
  identity: string,
  read: XmlReader,
): Assertion {
  const { step, subject, url } = question
  let root: XmlElement
  try {
    root = read(answer.text)
  } catch (cause) {
    if (answer.status !== 200) throw statusFailure(question, answer)
    throw federationError('FEDERATION_FAILED', `${subject}: ${errorText(cause)}.`, {
      step,
      hint: `See what answers at ${url.host}.`,
      cause,
    })
  }
  // AD FS answers a refusal with status 500.
  const fault = faultIn(root)
  if (fault !== undefined) {
    throw federationError('FEDERATION_REFUSED', `${subject} of ${identity}: ${fault.reason || fault.code}.`, {
      step,
      transient: fault.atReceiver,
      hint: 'The event log of AD FS says more: whether the account may sign in, and whether the relying party of Microsoft 365 takes it by access control, issuance rules and authentication method.',
      details: { fault: fault.code, principal: identity },
    })
  }
  if (answer.status !== 200) throw statusFailure(question, answer)
  const assertion = assertionIn(root, answer.text, version)
  if (assertion !== undefined) return assertion
  throw federationError('FEDERATION_FAILED', `${subject}: the answer holds none of SAML 1.1 or 2.0.`, {
    step,
    hint: `See what answers at ${url.host}.`,
  })
}
