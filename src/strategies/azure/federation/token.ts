import { federationError, plainWords } from './errors.ts'
import { ask, jsonOf, statusFailure, type Web } from './https.ts'
import type { Assertion } from './ws-trust.ts'

export interface TokenRequest {
  readonly authority: string
  readonly tenant: string
  readonly clientId: string
  readonly scope: string
}

export interface FederatedToken {
  readonly token: string
  /** Milliseconds since the epoch. */
  readonly expiresOnTimestamp: number
}

/**
 * Trades an assertion for a token at Entra's token endpoint (RFC 7521, 4.1). No refresh token is asked for: a
 * new token is obtained with the Kerberos ticket, so access ends when the ticket expires.
 *
 * @throws an Error with the status and Entra's own words, the AADSTS code in them
 */
export async function tradeAssertion(
  { xml, grantType }: Assertion,
  { authority, tenant, clientId, scope }: TokenRequest,
  web: Web,
): Promise<FederatedToken> {
  const url = new URL(`/${encodeURIComponent(tenant)}/oauth2/v2.0/token`, authority)
  const step = 'token'
  const subject = `The assertion could not be traded for a token at ${url.host}`
  const form = new URLSearchParams({
    grant_type: grantType,
    assertion: Buffer.from(xml).toString('base64url'),
    client_id: clientId,
    scope,
  })
  const question = {
    step,
    subject,
    url,
    headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
  } as const
  const sentAt = Date.now()
  const answer = await ask(question, web)
  const { access_token: token, expires_in: seconds, error_description: refusal } = jsonOf(answer.text) ?? {}
  if (answer.status !== 200) {
    if (answer.status >= 500 || answer.status === 429 || typeof refusal !== 'string') {
      throw statusFailure(question, answer)
    }
    throw Object.assign(new Error(plainWords(refusal)), { status: answer.status })
  }
  const life = Number(seconds)
  if (typeof token !== 'string' || token === '' || !(life > 0)) {
    throw federationError('FEDERATION_FAILED', `${subject}: the answer holds no token.`, {
      step,
      hint: 'Check cloud and authority_host, and that nothing on the way answers in their place.',
    })
  }
  return { token, expiresOnTimestamp: sentAt + life * 1000 }
}
