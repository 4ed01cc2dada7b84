import type { X509Certificate } from 'node:crypto'
import { numericAddress } from './numeric-address.ts'

/**
 * Whether a server's certificate was issued for the host that the user named: libpq's rules under
 * `sslmode=verify-full` (PostgreSQL documentation, "Client Verification of Server Certificates"; RFC 6125).
 *
 * - A host name must match a dNSName of the subject alternative names; `*` stands for the left-most label alone.
 * - An IP address, in any form that {@link numericAddress} reads, must match an iPAddress of them.
 * - A name with letters of other scripts must be in the certificate as it is written: `münchen.example` and
 *   `xn--mnchen-3ya.example` are two names. The case counts for all letters but A to Z.
 * - The subject's (first) common name counts only when there is no alternative name of that kind.
 *
 * Stricter than libpq in three corners: a wildcard never matches an IP address, a dNSName that spells an IP
 * address is not one, and `*.com` matches nothing.
 */
export function certificateMatchesHost(certificate: X509Certificate, host: string): boolean {
  // OpenSSL takes a leading dot to mean "any name below"; no host is called so.
  if (host === '' || host.startsWith('.')) return false
  const alternatives = certificate.subjectAltName ?? ''
  const address = numericAddress(host)
  if (address !== undefined) {
    if (certificate.checkIP(address) !== undefined) return true
    // Node quotes names with odd characters, so at worst this finds a kind that is not there and refuses.
    return !alternatives.includes('IP Address:') && commonName(certificate) === host
  }
  const matched = certificate.checkHost(host, { subject: 'never', partialWildcards: false })
  if (matched !== undefined) return true
  return !alternatives.includes('DNS:') && nameMatches(commonName(certificate), host)
}

function commonName(certificate: X509Certificate): string {
  const name: unknown = certificate.toLegacyObject().subject?.CN
  const first: unknown = Array.isArray(name) ? name[0] : name
  return typeof first === 'string' ? first : ''
}

function nameMatches(pattern: string, host: string): boolean {
  const name = lowerCase(pattern)
  const wanted = lowerCase(host)
  if (name === wanted) return true
  if (!name.startsWith('*.') || name.indexOf('.', 2) === -1) return false
  const dot = wanted.indexOf('.')
  return dot > 0 && wanted.slice(dot) === name.slice(1)
}

/** Of A to Z only: other letters have small letters among these, as the Kelvin sign has a k. */
function lowerCase(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}
