/** The TDS test double serves FreeTDS' tsql, a client that shares no code with ours. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { temporaryFolder } from '../support/folder.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { type Kdc, startKdc } from '../support/kdc.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { tsql } from '../support/tds/clients.ts'
import { ntlmAcceptor } from '../support/tds/ntlm-acceptor.ts'
import type { TdsServerOptions } from '../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const LOGINS = { sa: 'Pa55word!ü' }

let postgres: PostgresServer
let pki: Pki
let certificate: IssuedCertificate
let kdc: Kdc
let folder: Awaited<ReturnType<typeof temporaryFolder>>
let caFile: string

before(async () => {
  folder = await temporaryFolder()
  postgres = await startPostgres()
  pki = await createPki()
  // FreeTDS' GnuTLS and every real server support RSA.
  certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'], keyType: 'rsa' })
  caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  kdc = await startKdc()
  Object.assign(process.env, kdc.environment)
})

after(async () => {
  await kdc[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

function start(options: Partial<TdsServerOptions> = {}): Promise<TdsServer> {
  return startTdsServer({ postgres, logins: LOGINS, tls: certificate, ...options })
}

describe("FreeTDS' tsql", () => {
  for (const [encryption, seen] of [
    ['off', 'none'],
    ['request', 'login-only'],
    ['require', 'tls'],
  ] as const) {
    test(`logs in by password with encryption ${encryption}`, async () => {
      await using server = await start()
      const { code, output } = await tsql(
        { folder: folder.path, port: server.port, user: 'sa', password: LOGINS.sa, encryption, caFile },
        [
          "select suser_sname() as who, cast(12.50 as decimal(10,2)) as price, N'Zürich' as town, cast(null as int) as a, cast(null as nvarchar(5)) as b",
          'create table #t (id int)',
          'insert into #t (id) values (1), (2)',
          'select id from #t order by id',
          'select 1/0',
        ],
      )
      assert.equal(code, 0, output)
      assert.match(output, /sa\t12\.50\tZürich\tNULL\tNULL/)
      assert.match(output, /id\n1\n2\n/)
      assert.match(output, /Msg 8134 .*\n.*division by zero/)
      assert.equal(server.journal.logins[0]?.encryption, seen)
      assert.deepEqual(server.complaints, [])
    })
  }

  test('refuses a certificate of another authority', async () => {
    const other = await createPki('another CA')
    const file = join(folder.path, 'other.pem')
    await writeFile(file, other.ca)
    await using server = await start()
    const base = {
      folder: folder.path,
      port: server.port,
      user: 'sa',
      password: LOGINS.sa,
      encryption: 'require',
    } as const
    const { code } = await tsql({ ...base, caFile: file }, ['select 1'])
    assert.notEqual(code, 0)
    assert.deepEqual(server.journal.logins, [])
  })

  test('gets the reason why a login failed', async () => {
    await using server = await start()
    const base = { folder: folder.path, port: server.port, encryption: 'off' } as const
    const { code, output } = await tsql({ ...base, user: 'sa', password: 'wrong' }, ['select 1'])
    assert.notEqual(code, 0)
    assert.match(output, /Msg 18456/)
  })

  test('is refused plainly with TDS 7.1', async () => {
    await using server = await start()
    const login = {
      folder: folder.path,
      port: server.port,
      user: 'sa',
      password: LOGINS.sa,
      encryption: 'off',
    } as const
    const { code, output } = await tsql({ ...login, tdsVersion: '7.1' }, ['select 1'])
    assert.notEqual(code, 0)
    assert.match(output, /speaks TDS 7\.2 and later/)
    assert.deepEqual(server.complaints, [])
  })

  test('gets text of a UTF-8 collation, for which it does not ask, as nvarchar', async () => {
    await using server = await start()
    const login = {
      folder: folder.path,
      port: server.port,
      user: 'sa',
      password: LOGINS.sa,
      encryption: 'off',
    } as const
    const { output } = await tsql(login, [
      'create table #utf8 (t varchar(20) collate Latin1_General_100_CI_AS_SC_UTF8)',
      "insert into #utf8 values (N'ä🐘')",
      'select t from #utf8',
    ])
    assert.match(output, /^ä🐘$/m)
  })

  test("logs in by NTLMv2 at the acceptor of our own client's tests", async () => {
    const account = { domain: 'CORP', user: 'etl', ntHash: Buffer.from('8846f7eaee8fb117ad06bdd830b7586c', 'hex') }
    await using server = await start({ sspi: { acceptor: () => ntlmAcceptor(account) } })
    const base = { folder: folder.path, port: server.port, user: 'CORP\\etl', encryption: 'require', caFile } as const
    const { code, output } = await tsql({ ...base, password: 'password' }, ['select suser_sname() as who'])
    assert.equal(code, 0, output)
    assert.match(output, /CORP\\etl/)
    const wrong = await tsql({ ...base, password: 'wrong' }, ['select 1'])
    assert.match(wrong.output, /Msg 18452/)
  })

  for (const reply of ['together', 'apart'] as const) {
    for (const encryption of ['off', 'require'] as const) {
      test(`logs in by Kerberos, encryption ${encryption}, the reply ${reply}`, async () => {
        let keytab = ''
        await using server = await start({ sspi: { acceptor: () => gssAcceptor(keytab), reply } })
        const service = `MSSQLSvc/localhost:${server.port}`
        const cache = `FILE:${kdc.path(`tsql-${server.port}`)}`
        const user = `user${server.port}`
        await kdc.addPrincipal(user, { password: 'pw' })
        await kdc.addPrincipal(service)
        keytab = await kdc.keytab(service)
        await kdc.kinit(user, cache, { password: 'pw' })
        const { code, output } = await tsql(
          {
            folder: folder.path,
            port: server.port,
            encryption,
            caFile,
            environment: { ...kdc.environment, KRB5CCNAME: cache },
          },
          ['select suser_sname() as who, auth_scheme from sys.dm_exec_connections where session_id = @@spid'],
        )
        assert.equal(code, 0, output)
        assert.match(output, new RegExp(`${user}@${kdc.realm}\tKERBEROS`))
        assert.ok((server.journal.logins[0]?.sspiLength ?? 0) > 100)
        assert.deepEqual(server.complaints, [])
      })
    }
  }
})
