import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { chmod, chown, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  CertificateFiles,
  type CertificateFilesOptions,
  type ExpiringCertificate,
  isExpiring,
} from '../../../src/credentials/certificate-files.ts'
import type { PoolsmithError } from '../../../src/errors.ts'
import { Secret } from '../../../src/secret.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { createPki, type IssuedCertificate, type Pki } from '../../support/pki.ts'

const DAY = 86_400_000
let folder: { readonly path: string } & AsyncDisposable
let pki: Pki
let issued: IssuedCertificate
let count = 0

before(async () => {
  folder = await temporaryFolder()
  pki = await createPki()
  issued = await pki.issue({ commonName: 'alice', client: true })
})
after(() => folder[Symbol.asyncDispose]())

interface Placed {
  readonly certificateFile: string
  readonly keyFile: string
}

async function place(certificate: string | Buffer, key: string | Buffer): Promise<Placed> {
  count++
  const placed = { certificateFile: join(folder.path, `${count}.crt`), keyFile: join(folder.path, `${count}.key`) }
  await writeFile(placed.certificateFile, certificate)
  await writeFile(placed.keyFile, key, { mode: 0o600 })
  return placed
}

async function put(path: string, content: string): Promise<void> {
  await writeFile(`${path}.new`, content, { mode: 0o600 })
  await rename(`${path}.new`, path)
}

async function refused(options: CertificateFilesOptions, code: string): Promise<void> {
  await assert.rejects(new CertificateFiles(options).load(), (error: PoolsmithError) => {
    assert.equal(error.code, code)
    assert.equal(error.phase, 'credential')
    assert.ok(error.hint)
    assert.ok(error.message.includes(folder.path), 'the message names the file')
    return true
  })
}

function encrypted(passphrase: string, type: 'pkcs8' | 'sec1' = 'pkcs8'): string {
  return createPrivateKey(issued.key).export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase }).toString()
}

test('a pair that belongs together', async () => {
  const loaded = await new CertificateFiles(await place(issued.cert, issued.key)).load()
  assert.equal(loaded.certificate, issued.cert)
  assert.equal(loaded.privateKey.reveal(), issued.key)
  assert.equal(loaded.subject, 'CN=alice')
  assert.ok(loaded.notBefore < Date.now() && loaded.notAfter > Date.now())
})

test('files that are missing or unreadable', async () => {
  const placed = await place(issued.cert, issued.key)
  const absent = join(folder.path, 'absent')
  const aFolder = join(folder.path, 'a-folder')
  await mkdir(aFolder)
  await refused({ ...placed, certificateFile: absent }, 'CERTIFICATE_FILE_MISSING')
  await refused({ ...placed, certificateFile: join(placed.keyFile, 'below') }, 'CERTIFICATE_FILE_MISSING')
  await refused({ certificateFile: absent, keyFile: absent }, 'CERTIFICATE_FILE_MISSING')
  await refused({ ...placed, keyFile: absent }, 'KEY_FILE_MISSING')
  await refused({ ...placed, certificateFile: aFolder }, 'CERTIFICATE_FILE_UNREADABLE')
  await refused({ ...placed, keyFile: aFolder }, 'KEY_FILE_UNREADABLE')
})

test('files that hold something else', async () => {
  await refused(await place('', issued.key), 'CERTIFICATE_MALFORMED')
  await refused(await place(issued.key, issued.key), 'CERTIFICATE_MALFORMED')
  await refused(
    await place('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', issued.key),
    'CERTIFICATE_MALFORMED',
  )
  await refused(await place(issued.cert, ''), 'KEY_MALFORMED')
  await refused(await place(issued.cert, issued.cert), 'KEY_MALFORMED')
  await refused(await place(issued.cert, issued.key.slice(0, 80)), 'KEY_MALFORMED')
})

test('a key of another certificate', async () => {
  const other = await pki.issue({ commonName: 'bob', client: true, keyType: 'rsa' })
  await refused(await place(issued.cert, other.key), 'KEY_MISMATCH')
})

test('an encrypted key and its passphrase', async () => {
  for (const type of ['pkcs8', 'sec1'] as const) {
    const placed = await place(issued.cert, encrypted('open sesame', type))
    const loaded = await new CertificateFiles({ ...placed, passphrase: new Secret('open sesame') }).load()
    assert.equal(loaded.passphrase?.reveal(), 'open sesame')
    await refused(placed, 'KEY_PASSPHRASE_MISSING')
    await refused({ ...placed, passphrase: new Secret('wrong') }, 'KEY_PASSPHRASE_WRONG')
  }
})

test('a certificate out of its time', async () => {
  const placed = await place(issued.cert, issued.key)
  await refused({ ...placed, now: () => Date.now() + 91 * DAY }, 'CERTIFICATE_EXPIRED')
  await refused({ ...placed, now: () => Date.now() - 2 * DAY }, 'CERTIFICATE_NOT_YET_VALID')
  let now = Date.now()
  const files = new CertificateFiles({ ...placed, now: () => now })
  await files.load()
  now += 91 * DAY
  await assert.rejects(files.load(), { code: 'CERTIFICATE_EXPIRED' })
})

test('permissions of the key', async () => {
  const placed = await place(issued.cert, issued.key)
  const isRoot = process.getuid?.() === 0
  for (const mode of [0o604, 0o620, 0o660, 0o601, 0o644]) {
    await chmod(placed.keyFile, mode)
    await refused(placed, 'KEY_PERMISSIONS')
  }
  await chmod(placed.keyFile, 0o640)
  if (isRoot) {
    await new CertificateFiles(placed).load()
    await chown(placed.keyFile, 65534, 65534)
  }
  await refused(placed, 'KEY_PERMISSIONS')
  await chmod(placed.keyFile, 0o400)
  await new CertificateFiles(placed).load()
})

test('a changed pair is read anew, an unchanged one is not', async () => {
  const placed = await place(issued.cert, issued.key)
  const files = new CertificateFiles(placed)
  const first = await files.load()
  assert.equal(await files.load(), first)
  const next = await pki.issue({ commonName: 'alice2', client: true })
  await put(placed.certificateFile, next.cert)
  await put(placed.keyFile, next.key)
  assert.equal((await files.load()).subject, 'CN=alice2')
})

test('between the two writes of a rotation the earlier pair is used, and this is announced once', async () => {
  const placed = await place(issued.cert, issued.key)
  const told: string[] = []
  const files = new CertificateFiles({ ...placed, onUnusable: (error) => told.push(error.code) })
  const first = await files.load()
  const next = await pki.issue({ commonName: 'alice3', client: true })
  await put(placed.certificateFile, next.cert)
  assert.equal(await files.load(), first)
  assert.equal(await files.load(), first)
  assert.deepEqual(told, ['KEY_MISMATCH'])
  await rm(placed.keyFile)
  assert.equal(await files.load(), first)
  await put(placed.keyFile, next.key)
  assert.equal((await files.load()).subject, 'CN=alice3')
  assert.deepEqual(told, ['KEY_MISMATCH', 'KEY_FILE_MISSING'])
})

test('an earlier pair that has expired is not used', async () => {
  const placed = await place(issued.cert, issued.key)
  let now = Date.now()
  const files = new CertificateFiles({ ...placed, now: () => now })
  await files.load()
  await rm(placed.keyFile)
  await files.load()
  now += 91 * DAY
  await assert.rejects(files.load(), { code: 'KEY_FILE_MISSING' })
})

test('the expiry of a certificate is announced once for each file, also when it comes near at run time', async () => {
  const placed = await place(issued.cert, issued.key)
  const told: ExpiringCertificate[] = []
  let now = Date.now()
  const files = new CertificateFiles({ ...placed, now: () => now, onExpiring: (one) => told.push(one) })
  const { notAfter } = await files.load()
  assert.deepEqual(told, [])
  now = notAfter - DAY
  await files.load()
  await files.load()
  assert.deepEqual(told, [{ file: placed.certificateFile, subject: 'CN=alice', expiresAt: notAfter }])
})

test('near its end: the last thirty days, or the last tenth of a shorter life', () => {
  const year = [0, 365 * DAY] as const
  assert.equal(isExpiring(...year, 334 * DAY), false)
  assert.equal(isExpiring(...year, 335 * DAY), true)
  const day = [0, DAY] as const
  assert.equal(isExpiring(...day, 0.89 * DAY), false)
  assert.equal(isExpiring(...day, 0.9 * DAY), true)
})

test('nothing that is printed shows the key or the passphrase', async () => {
  const { inspect } = await import('node:util')
  const placed = await place(issued.cert, encrypted('open sesame'))
  const loaded = await new CertificateFiles({ ...placed, passphrase: new Secret('open sesame') }).load()
  const shown = inspect(loaded, { depth: 9 }) + JSON.stringify(loaded)
  assert.ok(!shown.includes('PRIVATE KEY') && !shown.includes('open sesame'))
  const failing = new CertificateFiles({ ...placed, passphrase: new Secret('wrong words') })
  await assert.rejects(failing.load(), (error) => !inspect(error, { depth: 9 }).includes('wrong words'))
})
