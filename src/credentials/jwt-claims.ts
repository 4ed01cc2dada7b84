/**
 * The claims of a JSON web token (RFC 7519), read without verifying it: to say whose token it is, never to trust it. A
 * token of another form has none.
 */
export function jwtClaims(token: string): Readonly<Record<string, unknown>> {
  const [, payload] = token.split('.')
  if (payload === undefined) return {}
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null ? { ...claims } : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}
