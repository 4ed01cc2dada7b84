/** The claims of a token that help to explain why it was refused. Nothing is verified: that is for the server. */
export interface TokenClaims {
  readonly audience: string | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined
}

const NOTHING: TokenClaims = { audience: undefined, expiresAt: undefined }

/** Reads the middle part of a JSON web token (RFC 7519); an opaque token has no claims. */
export function claimsOf(token: string): TokenClaims {
  const [, payload] = token.split('.')
  if (payload === undefined) return NOTHING
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    if (typeof claims !== 'object' || claims === null) return NOTHING
    const audience = 'aud' in claims && typeof claims.aud === 'string' ? claims.aud : undefined
    const expires = 'exp' in claims && typeof claims.exp === 'number' ? claims.exp * 1000 : undefined
    return { audience, expiresAt: expires }
  } catch (error) {
    if (error instanceof SyntaxError) return NOTHING
    throw error
  }
}
