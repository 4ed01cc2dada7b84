/**
 * The TDS server test double must follow the protocol and not our own client: these tests run two independent clients
 * against it.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { TYPES } from 'tedious'
import { temporaryFolder } from '../support/folder.ts'
import { type Kdc, startKdc } from '../support/kdc.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { connectStock, runStock, type StockAuthentication, sqlLogin } from '../support/tds/clients.ts'
import { createIssuer, type TokenIssuer } from '../support/tds/issuer.ts'
import type { TdsServerOptions } from '../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const LOGINS = { sa: 'Pa55word!ü', late: { password: 'x', mustChange: true }, old: { password: 'x', expired: true } }

let postgres: PostgresServer
let pki: Pki
let certificate: IssuedCertificate
let issuer: TokenIssuer
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
  issuer = await createIssuer()
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

const sa = sqlLogin('sa', LOGINS.sa)
const trusting = () => ({ cryptoCredentialsDetails: { ca: pki.ca } })

describe('stock tedious', () => {
  for (const [encrypt, seen] of [
    [false, 'none'],
    [true, 'tls'],
    ['strict', 'strict'],
  ] as const) {
    test(`logs in under encrypt=${encrypt}`, async () => {
      await using server = await start(encrypt === 'strict' ? { encryption: 'strict' } : {})
      const connection = await connectStock({
        port: server.port,
        authentication: sa,
        options: { encrypt, ...trusting() } as object,
      })
      const { rows } = await runStock(connection, 'select suser_sname() as who, @@spid as spid')
      assert.deepEqual(rows, [{ who: 'sa', spid: 51 }])
      assert.equal(server.journal.logins[0]?.encryption, seen)
      assert.equal(server.journal.logins[0]?.tlsServerName, encrypt === false ? undefined : 'localhost')
      connection.close()
      assert.deepEqual(server.complaints, [])
    })
  }

  test('is refused with a wrong password, and with a password that must be changed', async () => {
    await using server = await start()
    const numbers: string[] = []
    for (const [user, password] of [
      ['sa', 'wrong'],
      ['nobody', 'x'],
      ['late', 'x'],
      ['old', 'x'],
    ] as const) {
      await assert.rejects(
        connectStock({ port: server.port, authentication: sqlLogin(user, password) }),
        (error: Error) => {
          numbers.push(error.message)
          return true
        },
      )
    }
    assert.match(numbers[0] ?? '', /Login failed for user 'sa'/)
    assert.match(numbers[2] ?? '', /must be changed/)
    assert.match(numbers[3] ?? '', /has expired/)
    assert.ok(server.journal.logins.every((login) => !login.accepted))
  })

  test('does not trust the certificate of an unknown authority, nor a server without TLS', async () => {
    await using server = await start()
    await assert.rejects(
      connectStock({ port: server.port, authentication: sa, options: { encrypt: true } }),
      /unable to verify|self.signed|issuer/i,
    )
    await using plain = await start({ encryption: 'not-supported' })
    await assert.rejects(
      connectStock({ port: plain.port, authentication: sa, options: { encrypt: true } }),
      /did not negotiate encryption/,
    )
    await using strict = await start({ encryption: 'required' })
    await assert.rejects(connectStock({ port: strict.port, authentication: sa }), /requires encryption/)
  })

  test('sends and reads back every type', async () => {
    await using server = await start()
    const connection = await connectStock({ port: server.port, authentication: sa })
    const { rows } = await runStock(
      connection,
      `select @i as i, @b as b, @f as f, @d as d, @s as s, @u as u, @bin as bin, @t as t, @day as day, null as nothing,
        cast(@big as nvarchar(max)) as big, cast('12.3456' as money) as m,
        cast('2024-02-29 23:59:59.1234567' as datetime2(7)) as d2,
        cast('2024-02-29 23:59:59.1234567 -05:30' as datetimeoffset(7)) as dto,
        cast('6f9619ff-8b86-d011-b42d-00c04fc964ff' as uniqueidentifier) as g,
        cast('decimal(20,4):-1.5' as sql_variant) as v, cast('<a/>' as xml) as x`,
      {
        onRequest: (request) => {
          request.addParameter('i', TYPES.Int, -7)
          request.addParameter('b', TYPES.BigInt, 9007199254740993n)
          request.addParameter('f', TYPES.Float, 0.1)
          request.addParameter('d', TYPES.Decimal, 12345.678, { precision: 18, scale: 3 })
          request.addParameter('s', TYPES.NVarChar, "O'Brien 🐘")
          request.addParameter('u', TYPES.UniqueIdentifier, '6f9619ff-8b86-d011-b42d-00c04fc964ff')
          request.addParameter('bin', TYPES.VarBinary, Buffer.from([0, 255, 7]))
          request.addParameter('t', TYPES.Bit, true)
          request.addParameter('day', TYPES.Date, new Date('2024-02-29T00:00:00Z'))
          request.addParameter('big', TYPES.NVarChar, 'ä'.repeat(200_000))
        },
      },
    )
    assert.deepEqual(rows, [
      {
        i: -7,
        b: '9007199254740993',
        f: 0.1,
        d: 12345.678,
        s: "O'Brien 🐘",
        u: '6F9619FF-8B86-D011-B42D-00C04FC964FF',
        bin: Buffer.from([0, 255, 7]),
        t: true,
        day: new Date('2024-02-29T00:00:00Z'),
        nothing: null,
        big: 'ä'.repeat(200_000),
        m: 12.3456,
        d2: new Date('2024-02-29T23:59:59.123Z'),
        dto: new Date('2024-03-01T05:29:59.123Z'),
        g: '6F9619FF-8B86-D011-B42D-00C04FC964FF',
        v: -1.5,
        x: '<a/>',
      },
    ])
    connection.close()
    assert.deepEqual(server.complaints, [])
  })

  for (const encrypt of [true, 'strict'] as const) {
    test(`is understood in pieces of any size that begin with any byte, under encrypt=${encrypt}`, async () => {
      await using server = await start(encrypt === 'strict' ? { encryption: 'strict' } : {})
      // In this many pieces, every byte that can begin a packet also begins a piece of an encrypted record.
      const crumbling = createServer((client) => {
        const onward = connect(server.port, '127.0.0.1').setNoDelay()
        onward.pipe(client)
        client.on('data', async (chunk: Buffer) => {
          client.pause()
          for (let at = 0; at < chunk.length; at += 7) {
            onward.write(chunk.subarray(at, at + 7))
            await new Promise(setImmediate)
          }
          client.resume()
        })
        for (const socket of [client, onward]) socket.on('error', () => undefined)
        client.once('close', () => onward.destroy())
      })
      crumbling.listen(0, '127.0.0.1')
      await once(crumbling, 'listening')
      const { port } = crumbling.address() as AddressInfo
      try {
        const options = { encrypt, requestTimeout: 20_000, ...trusting() } as object
        const connection = await connectStock({ port, authentication: sa, options })
        const text = 'ü🐘'.repeat(4000)
        const { rows } = await runStock(connection, 'select len(@t) as n', {
          onRequest: (request) => request.addParameter('t', TYPES.NVarChar, text),
        })
        assert.deepEqual(rows, [{ n: 8000 }])
        connection.close()
      } finally {
        crumbling.close()
      }
      assert.deepEqual(server.complaints, [])
    })
  }

  test('works in transactions, cancels, and resets', async () => {
    await using server = await start()
    const connection = await connectStock({ port: server.port, authentication: sa })
    await runStock(connection, 'create table [things] ([id] int identity(1,1) primary key, [name] nvarchar(20))')
    const begin = (): Promise<void> =>
      new Promise((resolve, reject) => connection.beginTransaction((error) => (error ? reject(error) : resolve())))
    const rollback = (): Promise<void> =>
      new Promise((resolve, reject) => connection.rollbackTransaction((error) => (error ? reject(error) : resolve())))
    await begin()
    const inserted = await runStock(connection, "insert into things (name) output inserted.id values (N'a'), (N'b')")
    assert.deepEqual(inserted.rows, [{ id: 1 }, { id: 2 }])
    await assert.rejects(
      runStock(connection, 'select 1/0'),
      (error: Error & { number?: number }) => error.number === 8134,
    )
    // As in SQL Server, the failed statement has not ended the transaction.
    assert.equal((await runStock(connection, 'select top (1) name from things order by id')).rows.length, 1)
    await rollback()
    assert.deepEqual((await runStock(connection, 'select count(*) as n from things')).rows, [{ n: '0' }])

    await assert.rejects(
      runStock(connection, "waitfor delay '00:00:20'", {
        onRequest: (request) => setTimeout(() => request.cancel(), 100),
      }),
      /Canceled/,
    )
    assert.equal(server.journal.attentions, 1)
    await assert.rejects(
      runStock(connection, 'select n from generate_series(1, 1000000) as n', {
        onRequest: (request) => request.once('row', () => request.cancel()),
      }),
      /Canceled/,
    )
    assert.equal(server.journal.attentions, 2)

    await runStock(connection, 'set lock_timeout 1234', { batch: true })
    await begin()
    await new Promise<void>((resolve, reject) => connection.reset((error) => (error ? reject(error) : resolve())))
    const { rows } = await runStock(connection, 'select @@lock_timeout as t, @@trancount as n')
    assert.deepEqual(rows, [{ t: -1, n: 0 }])
    assert.equal(server.journal.resets, 1)
    await runStock(connection, 'drop table things')
    connection.close()
    assert.deepEqual(server.complaints, [])
  })

  test('logs in by an access token, in both workflows, and is refused with a bad one', async () => {
    await using server = await start({ tokens: issuer.rules, fedAuthRequired: true })
    const byToken = (token: string): StockAuthentication => ({
      type: 'azure-active-directory-access-token',
      options: { token },
    })
    const attempt = async (authentication: StockAuthentication): Promise<unknown> => {
      const options = { encrypt: true, ...trusting() } as object
      const connection = await connectStock({ port: server.port, authentication, options })
      const { rows } = await runStock(connection, 'select suser_sname() as who')
      connection.close()
      return rows[0]?.who
    }
    assert.equal(await attempt(byToken(await issuer.issue())), 'svc@test')
    assert.equal(server.journal.logins[0]?.fedAuthEcho, true)
    const scopes: unknown[] = []
    const asked = await attempt({
      type: 'token-credential',
      options: {
        credential: {
          getToken: async (scope: string | string[]) => {
            scopes.push(scope)
            return { token: await issuer.issue({ name: 'asked@test' }), expiresOnTimestamp: Date.now() + 60_000 }
          },
        },
      },
    })
    assert.equal(asked, 'asked@test')
    assert.deepEqual(scopes, ['https://database.windows.net/.default'])
    await assert.rejects(attempt(byToken(await issuer.issue({ expiresInSeconds: -60 }))), /Token is expired/)
    await assert.rejects(
      attempt(byToken(await issuer.issue({ audience: 'https://other/' }))),
      /not currently configured to accept this token/,
    )
    await assert.rejects(attempt(byToken(await issuer.issue({ forged: true }))), /Login failed/)
  })

  test('is refused with a token in the clear', async () => {
    await using server = await start({ tokens: issuer.rules })
    const authentication: StockAuthentication = {
      type: 'azure-active-directory-access-token',
      options: { token: await issuer.issue() },
    }
    const attempt = connectStock({ port: server.port, authentication, options: { encrypt: false } })
    await assert.rejects(attempt, /A token needs an encrypted login/)
  })

  test('is routed to another server', async () => {
    await using target = await start({ tls: certificate })
    await using gateway = await start({ routing: { server: 'localhost', port: target.port } })
    const connection = await connectStock({ port: gateway.port, authentication: sa })
    assert.deepEqual((await runStock(connection, 'select 1 as one')).rows, [{ one: 1 }])
    assert.equal(target.journal.logins.length, 1)
    connection.close()
  })

  test('meets every fault of the script', async () => {
    await using server = await start()
    const login = async (): Promise<string> => {
      const connection = await connectStock({
        port: server.port,
        authentication: sa,
        options: { encrypt: true, connectTimeout: 700, ...trusting() } as object,
      })
      connection.close()
      return 'in'
    }
    for (const at of ['connect', 'prelogin', 'tls', 'login'] as const) {
      for (const what of ['hang', 'cut', 'reset', 'garble'] as const) {
        server.faults.clear()
        server.faults.add({ at, fault: { do: what } })
        await assert.rejects(login(), Error, `${at} ${what}`)
      }
    }
    server.faults.clear()
    server.faults.add({
      at: 'login',
      fault: { do: 'refuse', number: 40613, message: 'Database is not available.' },
      times: 1,
    })
    await assert.rejects(login(), /not available/)
    assert.equal(await login(), 'in')
  })
})
