/** Texts that carry a secret, known by how they look and not by the name that they stand under. */

/** Text in the manner of `Password=...;` or `"client_secret": "..."`. */
const ASSIGNED =
  /(password|passwd|passphrase|pwd|secret|token|api_?key|private_?key|access_?key|account_?key|signature|\bsig)["']?\s*[:=]/i
/** How a key or a token begins: PEM, PEM in base64, the forms of SSH, JWK, JWT. */
const ARMOUR =
  /-----BEGIN [A-Z ]*(KEY|ENCRYPTED)|LS0tLS1CRUdJTi|---- BEGIN SSH2|PuTTY-User-Key-File|"kty"\s*:|"private_key|\beyJ[\w-]{8,2000}\.eyJ[\w-]{8,2000}\./
/** Bytes of a key or a keytab read as text. */
const BINARY = /(?!\s)\p{Cc}/u

/** Whether a text is a private key, a keytab or a token, in one of their usual forms. */
export function isKeyMaterial(text: string): boolean {
  return ARMOUR.test(text) || isKeyInBase64(text)
}

/** Whether a text is a key, or carries a login or an assigned password. */
export function namesSecret(text: string): boolean {
  const scheme = text.indexOf('://')
  return (scheme !== -1 && text.includes('@', scheme)) || ASSIGNED.test(text) || isKeyMaterial(text)
}

/**
 * Whether a text may carry a secret: what {@link namesSecret} knows, and bytes, as they are or in base64. It decides
 * what is hidden when a record is shown, where one text hidden too many does no harm.
 */
export function isSecretText(text: string): boolean {
  // Login and password before a host without a scheme; a principal such as MSSQLSvc/host:1433@REALM is none.
  return namesSecret(text) || BINARY.test(text) || /^[^\s/:@]+:[^@]*@/.test(text) || holdsBase64(text)
}

/** Whether a whole text is a DER sequence, a keytab or a ticket cache in base64. */
function isKeyInBase64(text: string): boolean {
  const compact = text.replaceAll(/\\n|\s/g, '')
  if (compact.length < 24 || !/^(M|BQ)[A-Za-z0-9+/_-]+=*$/.test(compact)) return false
  const [first, second = 0, third = 0, fourth = 0] = Buffer.from(compact.slice(0, 8), 'base64')
  if (first === 5) return (second <= 2 && third === 0 && fourth === 0) || (second === 4 && third === 0)
  const length = Buffer.byteLength(compact, 'base64')
  const told = second === 0x82 ? third * 256 + fourth + 4 : second === 0x81 ? third + 3 : second + 2
  return first === 0x30 && told === length
}

/** A part that may be base64, also of the kind for URLs. */
const ENCODED_RUN = /[A-Za-z0-9+/_=-]{24,}/g
const FEWEST_ENCODED = 24
/** Of random base64 about 0.63, of names in mixed case with numbers rarely more than 0.3. */
const ENCODED = 0.4

function holdsBase64(text: string): boolean {
  for (const [run] of text.matchAll(ENCODED_RUN)) if (disorder(run) > ENCODED) return true
  return false
}

/**
 * How often capitals, small letters and digits change from one to another, as a share of all of them: high in base64
 * of arbitrary bytes, low in words. 0 for a text that is short or lacks one of the three, as a UUID does.
 */
export function disorder(text: string): number {
  const kinds = text
    .replaceAll(/[^A-Za-z0-9]+/g, '')
    .replaceAll(/[A-Z]/g, 'A')
    .replaceAll(/[a-z]/g, 'a')
    .replaceAll(/\d/g, '0')
  if (kinds.length < FEWEST_ENCODED || new Set(kinds).size < 3) return 0
  let changes = 0
  for (let index = 1; index < kinds.length; index++) if (kinds[index] !== kinds[index - 1]) changes++
  return changes / kinds.length
}
