/** LOGIN7 of Microsoft's own clients and ours, field by field: a change in any of them shows. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TdsServer } from '../../support/tds/server.ts'
import { CLIENTS, Client, type Encrypt } from './clients.ts'
import { Poolsmith } from './poolsmith.ts'
import { interopSetup, SA } from './setup.ts'

const { start, at } = await interopSetup()

/** The fields that say how a session is to behave; names of machines and processes are left out. */
function fieldsOf(server: TdsServer): Readonly<Record<string, unknown>> {
  const [login] = server.journal.logins
  assert.ok(login)
  const hex = (value: number): string => value.toString(16).padStart(2, '0')
  return {
    tdsVersion: login.tdsVersion.toString(16),
    packetSize: login.packetSize,
    flags: login.flags.map(hex).join(' '),
    library: login.libraryName,
    language: login.language,
    features: login.features.map(hex).join(' '),
  }
}

interface Fields {
  readonly packetSize: number
  readonly flags: string
  readonly library?: string
  readonly features: string
}

const FIELDS: Readonly<Record<string, Fields>> = {
  // fODBC is not set, so tedious sends the ANSI settings and TEXTSIZE as a batch.
  poolsmith: { packetSize: 4096, flags: 'f0 00 00 18', features: '0a' },
  jdbc: {
    packetSize: 8000,
    flags: 'e0 03 00 18',
    library: 'Microsoft JDBC Driver 13.2',
    features: '04 09 0a 0b 0e 0d 01',
  },
  odbc: { packetSize: 0, flags: 'e0 03 00 10', library: 'ODBC', features: '10 01 09 0a 0b' },
  go: { packetSize: 4096, flags: 'a0 02 00 00', library: 'go-mssqldb', features: '' },
  sqlclient: {
    packetSize: 8000,
    flags: 'e0 03 00 10',
    library: 'Core .Net SqlClient Data Provider',
    features: '01 05',
  },
}

function expected(name: string, encrypt: Encrypt): unknown {
  // Only these two name TDS 8.0 in LOGIN7; Microsoft's ODBC driver does as ours.
  const tdsVersion = encrypt === 'strict' && (name === 'jdbc' || name === 'go') ? '8000000' : '74000004'
  return { tdsVersion, language: '', ...FIELDS[name] }
}

for (const kind of CLIENTS) {
  for (const encrypt of kind.encrypts) {
    test(`${kind.name} under encrypt=${encrypt}`, async () => {
      const server = await start()
      await using client = new Client(kind)
      assert.deepEqual(await client.connect(at(server, { encrypt }), SA), {})
      assert.deepEqual(fieldsOf(server), expected(kind.name, encrypt))
    })
  }
}

for (const encrypt of ['false', 'true', 'strict'] as const) {
  test(`poolsmith under encrypt=${encrypt}`, async () => {
    const server = await start()
    const { port, certificateFile } = at(server)
    await using client = await Poolsmith.connect({
      type: 'mssql',
      host: 'localhost',
      port,
      login: SA.user,
      password: SA.password,
      database: 'master',
      extra: {
        encrypt,
        ...(encrypt === 'strict' ? { server_certificate: certificateFile } : { trust_server_certificate: true }),
      },
    })
    await client.rows('select 1 as n')
    const { library, ...fields } = fieldsOf(server)
    assert.match(String(library), /^poolsmith /)
    assert.deepEqual(fields, expected('poolsmith', encrypt))
  })
}
