/** Certificates that are accepted from a SQL Server: every `encrypt` that verifies applies the same complete checks. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki, type IssueOptions, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { open, password, testDriver } from '../support/tds/driver.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const stack = new AsyncDisposableStack()
let folder: string
let postgres: PostgresServer
let pki: Pki
let caFile: string

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  postgres = stack.use(await startPostgres())
  pki = await createPki()
  caFile = join(folder, 'ca.pem')
  await writeFile(caFile, pki.ca)
})
after(() => stack.disposeAsync())

async function start(options: IssueOptions, authority = pki): Promise<TdsServer & { readonly cert: string }> {
  const tls = await authority.issue(options)
  const server = await startTdsServer({ postgres, logins: { sa: 'pw' }, tls, strictToo: true })
  return Object.assign(server, { cert: tls.cert })
}

/** The error code of an attempt to log in. */
async function outcome(server: TdsServer, host: string, extra: Readonly<Record<string, unknown>>): Promise<string> {
  const { driver } = testDriver({ host, port: server.port }, extra, { lookup: async () => ['127.0.0.1'] })
  try {
    const { raw } = await open(driver, password('sa', 'pw'))
    await driver.close(raw)
    return 'accepted'
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, String(error))
    return error.code
  }
}

describe('the name in the certificate is compared in the same way under true, strict and, with a ca_file, false', () => {
  const MISMATCH = 'TLS_HOSTNAME_MISMATCH'
  const cases: readonly (readonly [
    what: string,
    issued: IssueOptions,
    host: string,
    expected: string,
    name?: string,
  ])[] = [
    ['its own name', { commonName: 'x', dns: ['db.example.com'] }, 'db.example.com', 'accepted'],
    ['in capitals', { commonName: 'x', dns: ['DB.example.com'] }, 'db.Example.com', 'accepted'],
    ['with a final dot', { commonName: 'x', dns: ['db.example.com'] }, 'db.example.com.', 'accepted'],
    ['another name', { commonName: 'db.example.com', dns: ['other.example.com'] }, 'db.example.com', MISMATCH],
    ['a wildcard for its first label', { commonName: 'x', dns: ['*.example.com'] }, 'db.example.com', 'accepted'],
    ['a wildcard for two labels', { commonName: 'x', dns: ['*.example.com'] }, 'a.db.example.com', MISMATCH],
    ['a wildcard for a part of a label', { commonName: 'x', dns: ['d*.example.com'] }, 'db.example.com', MISMATCH],
    ['a common name alone', { commonName: 'db.example.com' }, 'db.example.com', 'accepted'],
    ['a part of a label in a common name', { commonName: 'd*.example.com' }, 'db.example.com', MISMATCH],
    ['its address', { commonName: 'x', ip: ['127.0.0.1'] }, '127.0.0.1', 'accepted'],
    ['its address as a common name alone', { commonName: '127.0.0.1' }, '127.0.0.1', 'accepted'],
    ['another address beside it', { commonName: '127.0.0.1', ip: ['127.0.0.2'] }, '127.0.0.1', MISMATCH],
    ['its address as a name', { commonName: 'x', dns: ['127.0.0.1'] }, '127.0.0.1', MISMATCH],
    ['its address in a short form', { commonName: 'x', ip: ['127.0.0.1'] }, '127.1', 'accepted'],
    [
      'its name, for clients only',
      { commonName: 'x', dns: ['db.test'], client: true },
      'db.test',
      'TLS_CERTIFICATE_UNSUITABLE',
    ],
    ['the wildcard that is asked for', { commonName: 'x', dns: ['*.db.test'] }, 'alias', 'accepted', '*.db.test'],
    ['the name that is asked for', { commonName: 'x', dns: ['db.test'] }, 'alias', 'accepted', 'db.test.'],
    ['another than is asked for', { commonName: 'x', dns: ['alias'] }, 'alias', MISMATCH, 'db.test'],
  ]
  for (const [what, issued, host, expected, host_name_in_certificate] of cases) {
    test(`${what}: ${expected}`, async () => {
      await using server = await start(issued)
      const seen = await Promise.all(
        ['true', 'strict', 'false'].map((encrypt) =>
          outcome(server, host, { encrypt, ca_file: caFile, host_name_in_certificate }),
        ),
      )
      assert.deepEqual(seen, [expected, expected, expected])
    })
  }
})

describe('under encrypt=false the login is encrypted, and its certificate', () => {
  test('is verified where ca_file, server_certificate or host_name_in_certificate asks for it', async () => {
    const foreign = await createPki()
    await using server = await start({ commonName: 'db.test', dns: ['db.test'] })
    await using impostor = await start({ commonName: 'db.test', dns: ['db.test'] }, foreign)
    const [pin, otherPin] = [join(folder, 'pin.pem'), join(folder, 'other-pin.pem')]
    await writeFile(pin, server.cert)
    await writeFile(otherPin, impostor.cert)
    for (const [to, extra, expected] of [
      [server, { ca_file: caFile }, 'accepted'],
      [impostor, { ca_file: caFile }, 'TLS_UNTRUSTED'],
      [server, { server_certificate: pin }, 'accepted'],
      [impostor, { server_certificate: pin }, 'TLS_CERTIFICATE_OTHER'],
      [server, { server_certificate: otherPin }, 'TLS_CERTIFICATE_OTHER'],
      [server, { host_name_in_certificate: 'db.test' }, 'TLS_UNTRUSTED'],
      [server, { ca_file: caFile, host_name_in_certificate: 'x.test' }, 'TLS_HOSTNAME_MISMATCH'],
      // Without such an option nothing is verified, as in Microsoft's drivers.
      [impostor, {}, 'accepted'],
      [impostor, { trust_server_certificate: true }, 'accepted'],
    ] as const) {
      const before = to.journal.logins.length
      assert.equal(await outcome(to, 'db.test', { encrypt: 'false', ...extra }), expected, JSON.stringify(extra))
      assert.equal(to.journal.logins.length - before, expected === 'accepted' ? 1 : 0, 'the password was sent')
    }
  })
})
