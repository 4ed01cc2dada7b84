/** Names of options that protect a connection in other drivers. An unknown one is an error, and not a warning. */

/** Part of a name without case and separators that stands for encryption, verification, or the choice of the server. */
const PROTECTION =
  /ssl|tls|x509|cert(?!ain)|^ca(file|path|dir|bundle)?$|rootca|crl|ocsp|revocation|cipher|crypt|verif|validat|trust|secur|rejectunauthor|(check|verify)host|hostname(check|verif|incert)|serveridentity|keystore|pfx|pkcs|fingerprint|pinned|fips|enclave|attestation|targets(ession|erver)|readonly|channelbind|requirepeer|requireauth|authentication|protocolversion|ntlm|kerberos|gss|krb/

/** A name as drivers compare it, which differ in case and separators. */
export function plainName(key: string): string {
  return key.toLowerCase().replaceAll(/[-_. ]/g, '')
}

/** Whether an unknown option looks like one that protects the connection, by its name or by a name inside its value. */
export function protects(key: string, value: unknown, depth = 0): boolean {
  if (PROTECTION.test(plainName(key))) return true
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return false
  return Object.entries(value).some(([inner, child]) => protects(inner, child, depth + 1))
}

/** Options of options go no deeper; an object may also refer back to itself. */
const DEEPEST = 4

/** Why an option of another driver is refused, or why it may be left out. */
export type ForeignOption = { readonly refused: string } | { readonly ignored: string }

/** Gives the message for an option of another driver; undefined for an option without a message of its own. */
export type ForeignOptions = (key: string, value: unknown) => ForeignOption | undefined
