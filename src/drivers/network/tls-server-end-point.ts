import { createHash } from 'node:crypto'
import { isError } from '../../any-error.ts'
import { type Element, elements, fieldOf } from '../../der.ts'

/**
 * `tls-server-end-point` (RFC 5929, section 4.1): the hash of the server's certificate by the hash function of its
 * own signature, where MD5 and SHA-1 give way to SHA-256.
 *
 * @param der the server's certificate
 * @returns undefined when its signature has no single hash function (Ed25519, Ed448), for which the RFC defines none
 */
export function tlsServerEndPoint(der: Buffer): Buffer | undefined {
  const name = signatureHash(der)
  return name === undefined ? undefined : createHash(name).update(der).digest()
}

/** Object identifiers of signature algorithms, DER, in hexadecimal (RFC 8017, RFC 5758). */
const SIGNATURES: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010e': 'sha224',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
}

const RSASSA_PSS = '2a864886f70d01010a'

/** Hash functions as RSASSA-PSS names them in its parameters. */
const HASHES: Readonly<Record<string, string>> = {
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
  '608648016503040204': 'sha224',
}

/** The hash function of the certificate's signature; undefined also for a certificate that cannot be read. */
function signatureHash(der: Buffer): string | undefined {
  try {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signature }
    const [, algorithm] = inside(elements(der)[0])
    const [oid, parameters] = inside(algorithm)
    if (oid === undefined) return undefined
    const name = oid.content.toString('hex')
    if (name !== RSASSA_PSS) return SIGNATURES[name]
    // RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm SEQUENCE { OID }, ... }; SHA-1 when it is left out.
    const [hash] = inside(fieldOf(inside(parameters), 0))
    return hash === undefined ? 'sha256' : (HASHES[hash.content.toString('hex')] ?? 'sha256')
  } catch (error) {
    if (isError(error) && error.name === 'RangeError') return undefined
    throw error
  }
}

function inside(element: Element | undefined): Element[] {
  return element === undefined ? [] : elements(element.content)
}
