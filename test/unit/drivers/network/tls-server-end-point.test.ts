import 'reflect-metadata'
import assert from 'node:assert/strict'
import { createHash, webcrypto } from 'node:crypto'
import { test } from 'node:test'
import * as x509 from '@peculiar/x509'
import { tlsServerEndPoint } from '../../../../src/drivers/network/tls-server-end-point.ts'

x509.cryptoProvider.set(webcrypto)

const rsa = { publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 }

/** RFC 5929, section 4.1: the hash of the signature, but never MD5 or SHA-1. */
const CASES = [
  { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-1', ...rsa, expected: 'sha256' },
  { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', ...rsa, expected: 'sha256' },
  { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384', ...rsa, expected: 'sha384' },
  { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-512', ...rsa, expected: 'sha512' },
  { name: 'RSA-PSS', hash: 'SHA-1', ...rsa, saltLength: 20, expected: 'sha256' },
  { name: 'RSA-PSS', hash: 'SHA-256', ...rsa, saltLength: 32, expected: 'sha256' },
  { name: 'RSA-PSS', hash: 'SHA-384', ...rsa, saltLength: 48, expected: 'sha384' },
  { name: 'RSA-PSS', hash: 'SHA-512', ...rsa, saltLength: 64, expected: 'sha512' },
  { name: 'ECDSA', hash: 'SHA-256', namedCurve: 'P-256', expected: 'sha256' },
  { name: 'ECDSA', hash: 'SHA-384', namedCurve: 'P-256', expected: 'sha384' },
  { name: 'ECDSA', hash: 'SHA-512', namedCurve: 'P-384', expected: 'sha512' },
  { name: 'Ed25519', expected: undefined },
]

for (const { expected, ...algorithm } of CASES) {
  test(`a certificate signed by ${algorithm.name} ${'hash' in algorithm ? algorithm.hash : ''}`, async () => {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name: 'CN=server',
      signingAlgorithm: algorithm as x509.X509CertificateCreateSelfSignedParams['signingAlgorithm'],
      keys,
    })
    const der = Buffer.from(certificate.rawData)
    const hash = tlsServerEndPoint(der)
    if (expected === undefined) assert.equal(hash, undefined)
    else assert.deepEqual(hash, createHash(expected).update(der).digest())
  })
}

test('bytes that are no certificate have no hash', () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('30', 'hex'),
    Buffer.from('3003020101', 'hex'),
    Buffer.alloc(99, 0xff),
  ]) {
    assert.equal(tlsServerEndPoint(bytes), undefined)
  }
})
