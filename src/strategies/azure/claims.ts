/** The claims of a JWT, read without verifying it: to name whose token it is, never to trust it. */
export function claimsOf(token: string): Readonly<Record<string, unknown>> {
  const [, payload] = token.split('.')
  if (payload === undefined) return {}
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null ? { ...claims } : {}
  } catch {
    // An opaque token is as good as a JWT; it only does not say whose it is.
    return {}
  }
}

/** Whom a token of Entra speaks for: a user's name, or an application's id. */
export function subjectOf(token: string): string | undefined {
  const claims = claimsOf(token)
  for (const name of ['upn', 'preferred_username', 'appid', 'azp', 'oid', 'sub']) {
    const value = claims[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

/** The application that a token of Entra was issued to (`appid` in version 1.0, `azp` in 2.0). */
export function applicationOf(token: string): string | undefined {
  const { appid, azp = appid } = claimsOf(token)
  return typeof azp === 'string' && azp !== '' ? azp : undefined
}
