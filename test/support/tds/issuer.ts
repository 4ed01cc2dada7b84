/** An issuer of access tokens for the TDS server test double: real signatures, and the faults that a test sets. */

import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { DEFAULT_AUDIENCE, type TokenRules } from './fedauth.ts'

export interface TokenWish {
  readonly name?: string
  readonly audience?: string
  /** Seconds from now; negative for an expired token. Default 3600. */
  readonly expiresInSeconds?: number
  /** Signed with an unknown key. */
  readonly forged?: boolean
}

export interface TokenIssuer {
  readonly rules: TokenRules
  issue(wish?: TokenWish): Promise<string>
}

export async function createIssuer(): Promise<TokenIssuer> {
  const known = await generateKeyPair('RS256')
  const unknown = await generateKeyPair('RS256')
  const issuer = 'https://sts.windows.net/test/'
  const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(known.publicKey)), alg: 'RS256', kid: 'test' }] })
  return {
    rules: { keys, issuer },
    issue: ({ name = 'svc@test', audience = DEFAULT_AUDIENCE, expiresInSeconds = 3600, forged = false } = {}) =>
      new SignJWT({ upn: name })
        .setProtectedHeader({ alg: 'RS256', kid: 'test' })
        .setIssuer(issuer)
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime(Math.floor(Date.now() / 1000) + expiresInSeconds)
        .sign(forged ? unknown.privateKey : known.privateKey),
  }
}
