/** A certificate authority in memory: the parts of a company's PKI that tests need. */

import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

x509.cryptoProvider.set(webcrypto)

export interface IssueOptions {
  readonly commonName: string
  readonly dns?: readonly string[]
  readonly ip?: readonly string[]
  /** A client certificate rather than a server's. */
  readonly client?: boolean
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly keyType?: KeyType
  /** Beside the usual ones. */
  readonly extensions?: readonly x509.Extension[]
}

export interface IssuedCertificate {
  /** PEM. */
  readonly cert: string
  /** PEM, PKCS #8, not encrypted. */
  readonly key: string
  readonly serial: string
}

export interface Pki {
  /** The CA's certificate, PEM. */
  readonly ca: string
  issue(options: IssueOptions): Promise<IssuedCertificate>
  /** A certificate revocation list with these serial numbers, PEM. */
  crl(serials: readonly string[]): Promise<string>
}

const DAY = 86_400_000

const KEY_ALGORITHMS = {
  rsa: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 },
  ecdsa: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  ed25519: { name: 'Ed25519' },
} as const

type KeyType = keyof typeof KEY_ALGORITHMS

async function keyPair(type: KeyType): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(KEY_ALGORITHMS[type], true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
}

function randomSerial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(12))
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return Buffer.from(bytes).toString('hex')
}

/**
 * @param name the CA's common name, so that two authorities of one test can be told apart
 * @param keyType of the CA, which decides the signatures
 */
export async function createPki(name = 'poolsmith test CA', keyType: KeyType = 'ecdsa'): Promise<Pki> {
  const caKeys = await keyPair(keyType)
  const signingAlgorithm = KEY_ALGORITHMS[keyType]
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - 365 * DAY),
    notAfter: new Date(Date.now() + 365 * DAY),
    signingAlgorithm,
    keys: caKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  })
  return {
    ca: ca.toString('pem'),
    async issue(options) {
      const keys = await keyPair(options.keyType ?? 'ecdsa')
      const serial = randomSerial()
      const names: x509.JsonGeneralName[] = [
        ...(options.dns ?? []).map((value) => ({ type: 'dns' as const, value })),
        ...(options.ip ?? []).map((value) => ({ type: 'ip' as const, value })),
      ]
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: serial,
        subject: `CN=${options.commonName}`,
        issuer: ca.subject,
        notBefore: options.notBefore ?? new Date(Date.now() - DAY),
        notAfter: options.notAfter ?? new Date(Date.now() + 90 * DAY),
        publicKey: keys.publicKey,
        signingKey: caKeys.privateKey,
        signingAlgorithm,
        extensions: [
          new x509.BasicConstraintsExtension(false),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([
            options.client === true ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
          ]),
          ...(options.extensions ?? []),
          ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
        ],
      })
      const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
      const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/(.{64})/g, '$1\n').trimEnd()}\n-----END PRIVATE KEY-----\n`
      return { cert: `${certificate.toString('pem')}\n`, key, serial }
    },
    async crl(serials) {
      const list = await x509.X509CrlGenerator.create({
        issuer: ca.subject,
        thisUpdate: new Date(Date.now() - DAY),
        nextUpdate: new Date(Date.now() + 30 * DAY),
        signingAlgorithm,
        signingKey: caKeys.privateKey,
        entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: new Date(Date.now() - DAY / 2) })),
        extensions: [],
      })
      // OpenSSL expects this label, not the shorter one that the library writes.
      return `${list.toString('pem').replaceAll(' CRL-----', ' X509 CRL-----')}\n`
    },
  }
}

/** A critical extension that no program knows, so that each must refuse the certificate (RFC 5280, section 4.2). */
export function unknownExtension(): x509.Extension {
  return new x509.Extension('1.3.6.1.4.1.55555.1', true, new Uint8Array([5, 0]))
}
