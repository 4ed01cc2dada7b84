import type { Credential } from './credential.ts'

/** Whether two credentials would say the same thing to a server; when and for how long does not count. */
export function sameSecret(a: Credential, b: Credential): boolean {
  if (a === b) return true
  if (a.user !== b.user) return false
  switch (a.kind) {
    case 'password':
      return b.kind === 'password' && a.password.equals(b.password)
    case 'token':
      return b.kind === 'token' && a.token.equals(b.token)
    case 'certificate':
      return b.kind === 'certificate' && a.certificate === b.certificate && a.privateKey.equals(b.privateKey)
    case 'ntlm':
      return b.kind === 'ntlm' && a.domain === b.domain && a.password.equals(b.password)
    case 'gss':
      // The ticket itself is in its cache: only its end tells a renewed one from the old.
      return (
        b.kind === 'gss' &&
        a.principal === b.principal &&
        a.cache === b.cache &&
        a.keytab === b.keytab &&
        a.expiresAt === b.expiresAt
      )
  }
}
