import assert from 'node:assert/strict'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { CaFile, CrlFile, CrlFolder, ServerCertificateFile } from '../../../src/credentials/trust-files.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { createPki, type Pki } from '../../support/pki.ts'

const DAY = 86_400_000
let folder: { readonly path: string } & AsyncDisposable
let pki: Pki

before(async () => {
  folder = await temporaryFolder()
  pki = await createPki('root')
})
after(() => folder[Symbol.asyncDispose]())

async function write(name: string, content: string): Promise<string> {
  const path = join(folder.path, name)
  await writeFile(`${path}.new`, content)
  await rename(`${path}.new`, path)
  return path
}

test('a file of authorities is read, and read again when it changes', async () => {
  const path = await write('changing.crt', pki.ca)
  const file = new CaFile(path)
  assert.equal(await file.load(), pki.ca)
  const other = await createPki('other')
  await write('changing.crt', pki.ca + other.ca)
  assert.equal(await file.load(), pki.ca + other.ca)
})

test('a missing file, one without a certificate, and a damaged one are errors', async () => {
  await assert.rejects(new CaFile(join(folder.path, 'absent')).load(), { code: 'CA_FILE_MISSING', phase: 'tls' })
  await assert.rejects(new CaFile(folder.path).load(), { code: 'CA_FILE_UNREADABLE' })
  await assert.rejects(new CaFile(await write('empty.crt', '')).load(), { code: 'CA_FILE_MALFORMED' })
  const damaged = pki.ca.replace(/MI/, 'AA')
  await assert.rejects(new CaFile(await write('damaged.crt', pki.ca + damaged)).load(), { code: 'CA_FILE_MALFORMED' })
})

test('an authority that expires soon is announced once, unless the file holds a successor', async () => {
  const path = await write('ending.crt', pki.ca)
  const told: string[] = []
  const file = new CaFile(path, { now: () => Date.now() + 350 * DAY, onExpiring: (one) => told.push(one.subject) })
  await file.load()
  await file.load()
  assert.deepEqual(told, ['CN=root'])
  const fresh = new CaFile(path, { onExpiring: () => assert.fail('not yet') })
  await fresh.load()
})

test('a file of revocation lists is read list by list', async () => {
  const list = await pki.crl([])
  assert.deepEqual(await new CrlFile(await write('good.crl', list)).load(), [list.trimEnd()])
  const lists = [list, await (await createPki('other')).crl([])]
  assert.deepEqual(
    await new CrlFile(await write('two.crl', lists.join('text between\n'))).load(),
    lists.map((one) => one.trimEnd()),
  )
  await assert.rejects(new CrlFile(join(folder.path, 'absent')).load(), { code: 'CRL_FILE_MISSING' })
  await assert.rejects(new CrlFile(await write('bad.crl', pki.ca)).load(), { code: 'CRL_FILE_MALFORMED' })
})

/** Contents that a file may have for a moment while it is replaced, besides none. */
const halves = (whole: string): readonly string[] => ['', whole.slice(0, 40), whole.slice(0, -30), 'not PEM']

test('a file that is missing, empty or half written for a moment counts as the last good one', async () => {
  const other = await createPki('successor')
  const certificate = await pki.issue({ commonName: 'db' })
  const successor = await pki.issue({ commonName: 'db' })
  const errors: string[] = []
  const options = { onUnusable: ({ code }: { code: string }) => void errors.push(code) }
  const kinds = {
    CA: { old: pki.ca, next: pki.ca + other.ca, open: (path: string) => new CaFile(path, options) },
    CRL: { old: await pki.crl([]), next: await pki.crl(['0a']), open: (path: string) => new CrlFile(path, options) },
    pin: {
      old: certificate.cert,
      next: successor.cert,
      open: (path: string) => new ServerCertificateFile(path, options),
    },
  }
  for (const [name, { old, next, open }] of Object.entries(kinds)) {
    const path = await write(`${name}.pem`, old)
    const file = open(path)
    // Certificates have nothing that a comparison of objects would see.
    const load = async () => JSON.stringify(await file.load())
    const before = await load()
    for (const half of halves(next)) {
      await write(`${name}.pem`, half)
      assert.equal(await load(), before, `${name}: ${JSON.stringify(half)}`)
      assert.equal(await load(), before)
    }
    await rm(path)
    assert.equal(await load(), before)
    // Each state of the file is told of once.
    assert.equal(errors.splice(0).length, halves(next).length + 1, name)
    await write(`${name}.pem`, next)
    assert.notEqual(await load(), before)
    await assert.rejects(async () => open(await write(`${name}-first.pem`, next.slice(0, -30))).load(), /holds no/)
    errors.splice(0)
  }
})

test('a folder of revocation lists', async () => {
  const path = join(folder.path, 'crls')
  const told: string[] = []
  const lists = new CrlFolder(path, { onUnusable: ({ code }) => told.push(code) })
  await assert.rejects(lists.load(), { code: 'CRL_FILE_MISSING' })
  await mkdir(path)
  await assert.rejects(lists.load(), { code: 'CRL_FILE_MISSING', message: /holds no revocation list under a name/ })
  const one = await pki.crl([])
  const two = await (await createPki('other')).crl([])
  await write('crls/readme.txt', 'not a list')
  await write('crls/0123abcd.r0', one.slice(0, 50))
  await assert.rejects(lists.load(), { code: 'CRL_FILE_MALFORMED' })
  await write('crls/0123abcd.r0', one)
  await write('crls/fedc0123.r0', two)
  assert.deepEqual(await lists.load(), [one.trimEnd(), two.trimEnd()])
  await rm(join(path, 'fedc0123.r0'))
  assert.deepEqual(await lists.load(), [one.trimEnd()])
  assert.deepEqual(told, [])
  await rm(path, { recursive: true })
  assert.deepEqual(await lists.load(), [one.trimEnd()])
  assert.deepEqual(await lists.load(), [one.trimEnd()])
  assert.deepEqual(told, ['CRL_FILE_MISSING', 'CRL_FILE_MISSING'], 'once for the folder, once for the file in it')
})
