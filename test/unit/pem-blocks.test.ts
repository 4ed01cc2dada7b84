import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { before, test } from 'node:test'
import { inspect } from 'node:util'
import { pem } from '../../src/connections/fields.ts'
import { pastedPem } from '../../src/pem-blocks.ts'
import { Secret } from '../../src/secret.ts'
import { damages, truncations } from '../support/bad-strings.ts'
import { pastedSpellings } from '../support/pasted-pem.ts'
import { createPki } from '../support/pki.ts'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const PASSPHRASE = { cipher: 'aes-256-cbc', passphrase: 'open sesame' } as const
const KEYS = {
  'PKCS #8': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  'SEC 1': privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
  'PKCS #1': rsa.export({ type: 'pkcs1', format: 'pem' }).toString(),
  encrypted: privateKey.export({ type: 'pkcs8', format: 'pem', ...PASSPHRASE }).toString(),
  'encrypted with headers': privateKey.export({ type: 'sec1', format: 'pem', ...PASSPHRASE }).toString(),
}
let certificate: string
let chain: string
before(async () => {
  const pki = await createPki()
  certificate = (await pki.issue({ commonName: 'etl', client: true })).cert
  chain = `${certificate.trimEnd()}\n${pki.ca.trimEnd()}\n`
})

test('a key is read in every spelling', () => {
  for (const [form, key] of Object.entries(KEYS)) {
    for (const [spelling, text] of Object.entries(pastedSpellings(key))) {
      // With its headers on one line, a key has lost what it needs.
      if (form === 'encrypted with headers' && spelling === 'on one line') continue
      const read = pastedPem(text, 'key')
      assert.ok(read, `${form}, ${spelling}`)
      assert.equal(createPrivateKey({ key: read, passphrase: 'open sesame' }).type, 'private', `${form}, ${spelling}`)
    }
  }
})

test('a chain of certificates is read in every spelling, and a key beside it is left out', () => {
  for (const [spelling, text] of Object.entries(pastedSpellings(KEYS['PKCS #8'] + chain))) {
    const read = pastedPem(text, 'certificates')
    assert.equal(read, chain, spelling)
    assert.equal(new X509Certificate(read ?? '').subject, 'CN=etl')
    assert.equal(pastedPem(text, 'key'), KEYS['PKCS #8'], spelling)
  }
})

test('a path is no PEM, and what is cut off or of another kind is empty', () => {
  for (const path of ['/etc/ssl/ca.pem', './x.crt', 'system', '', 'LS0.pem']) {
    assert.equal(pastedPem(path, 'certificates'), undefined)
  }
  assert.equal(pastedPem(KEYS['PKCS #8'], 'certificates'), '')
  assert.equal(pastedPem(chain, 'key'), '')
  assert.equal(pastedPem(chain.slice(0, -20), 'certificates'), '')
})

test('an option takes a path or the text, which becomes a secret', () => {
  const field = pem('key', { description: 'The key.' })
  assert.equal(field.parse('/etc/ssl/client.key'), '/etc/ssl/client.key')
  for (const given of [KEYS['PKCS #8'], new Secret(KEYS['PKCS #8'])]) {
    const value = field.parse(given)
    assert.ok(value instanceof Secret)
    assert.equal(value.reveal(), KEYS['PKCS #8'])
  }
})

test('no text, however cut off or damaged, is repeated or fails in another way', () => {
  for (const kind of ['key', 'certificates', 'lists'] as const) {
    const field = pem(kind, { description: 'x' })
    for (const whole of Object.values(pastedSpellings(KEYS['PKCS #8']))) {
      for (const text of [...truncations(whole), ...damages(whole)]) {
        try {
          const value = field.parse(text)
          assert.ok(value instanceof Secret, inspect(text))
        } catch (error) {
          assert.ok(error instanceof Error && error.constructor.name === 'FieldMismatch', inspect(error))
          const shown = inspect(error)
          for (const part of ['MIG', whole.slice(60, 72)]) assert.ok(!shown.includes(part), shown.slice(0, 300))
        }
      }
    }
  }
})
