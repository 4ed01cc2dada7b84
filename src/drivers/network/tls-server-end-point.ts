import { createHash } from 'node:crypto'

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

function signatureHash(der: Buffer): string | undefined {
  // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signature }
  const [, algorithm] = children(content(der))
  if (algorithm === undefined) return undefined
  const [oid, parameters] = children(content(algorithm))
  if (oid === undefined) return undefined
  const name = content(oid).toString('hex')
  if (name !== RSASSA_PSS) return SIGNATURES[name]
  // RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm SEQUENCE { OID }, ... }; SHA-1 when it is left out.
  const [first] = parameters === undefined ? [] : children(content(parameters))
  if (first?.[0] !== 0xa0) return 'sha256'
  const [hash] = children(content(content(first)))
  return hash === undefined ? undefined : (HASHES[content(hash).toString('hex')] ?? 'sha256')
}

interface Extent {
  readonly start: number
  readonly end: number
}

/** Where the content of the DER element at `offset` begins and ends. */
function extent(bytes: Buffer, offset: number): Extent {
  const first = bytes[offset + 1] ?? 0
  if (first < 0x80) return { start: offset + 2, end: offset + 2 + first }
  const size = first & 0x7f
  let length = 0
  for (let index = 0; index < size; index++) length = length * 256 + (bytes[offset + 2 + index] ?? 0)
  return { start: offset + 2 + size, end: offset + 2 + size + length }
}

function content(element: Buffer): Buffer {
  const { start, end } = extent(element, 0)
  return element.subarray(start, end)
}

function children(bytes: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const { end } = extent(bytes, offset)
    found.push(bytes.subarray(offset, end))
    offset = end
  }
  return found
}
