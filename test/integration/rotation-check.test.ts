/** The ages of credentials, taken from where they stand: servers, stores, certificates and keytabs. */

import assert from 'node:assert/strict'
import { utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type CredentialAge, checkRotation } from '../../src/rotation/index.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startKdc } from '../support/kdc.ts'
import { findSecrets } from '../support/object-graph.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { locationOf, startDouble } from '../support/sqlserver-double.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const DAY = 86_400_000
const NOWHERE = { type: 'postgres', host: '127.0.0.1', port: 1, login: 'etl', database: 'postgres' } as const
const stores = { environment: {} }

async function only(options: Parameters<typeof checkRotation>[0]): Promise<CredentialAge> {
  const { credentials, failures } = await checkRotation({ stores, ...options })
  assert.deepEqual(failures, [])
  const [first, ...rest] = credentials
  assert.ok(first !== undefined && rest.length === 0, JSON.stringify(credentials))
  return first
}

for (const flavor of ['embedded', 'debian'] as const) {
  test(`PostgreSQL (${flavor}) tells the end of a password, and its file the age`, async () => {
    await using server = await startPostgres({ flavor })
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'password')
    await writeFile(file, 'first', { mode: 0o600 })
    await server.sql("create role etl login password 'first'")
    const { host, port } = server
    const connections = [{ ...NOWHERE, host, port, extra: { password_file: file } }]
    const setAt = Date.now() - 170 * DAY
    await utimes(file, setAt / 1000, setAt / 1000)

    const endless = await only({ connections })
    assert.deepEqual([endless.status, endless.kind, endless.place], ['soon', 'database_password', file])
    assert.equal(Math.round(endless.setAt ?? 0), Math.round(setAt))
    assert.equal(endless.expiresAt, undefined)

    await server.sql("alter role etl valid until 'infinity'")
    assert.equal((await only({ connections })).expiresAt, undefined)

    const until = new Date(Date.now() + 3 * DAY)
    await server.sql(`alter role etl valid until '${until.toISOString()}'`)
    const ending = await only({ connections })
    assert.deepEqual([ending.status, ending.expiresAt, ending.dueAt], ['soon', until.getTime(), until.getTime()])
    assert.deepEqual(ending.sources, ['the last change of the file', 'rolvaliduntil'])
    assert.equal((await only({ connections, askServers: false })).expiresAt, undefined)
  })
}

test('SQL Server tells when a password was set and when it ends', async () => {
  await using double = await startDouble()
  const { postgres, server } = double
  const connections = [locationOf(server)]
  const unknown = await only({ connections })
  assert.equal(unknown.status, 'unknown')
  assert.match(unknown.notes.join(), /the server does not say when the password was set/)

  const set = new Date(Date.now() - 200 * DAY).toISOString().slice(0, 19)
  await postgres.sql(`alter database postgres set mssql.password_set = '${set}'`)
  const old = await only({ connections })
  assert.deepEqual([old.status, old.identity, old.sources], ['due', 'sa', ['PasswordLastSetTime']])
  assert.ok(Math.abs((old.setAt ?? 0) - Date.parse(`${set}Z`)) < 60_000)

  await postgres.sql("alter database postgres set mssql.password_days = '0'")
  const ended = await only({ connections })
  assert.deepEqual([ended.status, ended.sources], ['expired', ['PasswordLastSetTime', 'DaysUntilExpiration']])
  // Under exact_values numbers arrive as text.
  assert.equal((await only({ connections: [`${locationOf(server)}&exact_values=true`] })).status, 'expired')
})

test('a store tells when the version was written; a store that is away is told as such', async () => {
  await using vault = await startVaultDouble()
  const password = 'the-Passw0rd/of+the=store'
  await administer(vault, 'POST', 'secret/data/sales', { data: { password } })
  const extra = {
    password_from: 'vault:secret/sales#password',
    vault_addr: vault.address,
    vault_token: vault.rootToken,
  }
  const options = { connections: [{ ...NOWHERE, extra }], askServers: false } as const
  const before = Date.now()
  const known = await only({ ...options, now: () => before + 181 * DAY })
  assert.deepEqual([known.status, known.sources], ['due', ['version 1 of the store']])
  assert.ok(Math.abs((known.setAt ?? 0) - before) < 60_000)
  assert.match(known.place, /^The secret secret\/sales in Vault 127/)

  vault.fault = () => ({ status: 503, body: { errors: ['Vault is sealed'] } })
  const away = await only(options)
  assert.equal(away.status, 'unknown')
  assert.match(away.notes.join(), /could not .* \(HTTP 503\)/)
  assert.deepEqual(findSecrets([known, away], [password, vault.rootToken]), [])
})

test('a certificate tells its times, and one that cannot be read says why', async () => {
  await using folder = await temporaryFolder()
  const pki = await createPki()
  const [notBefore, notAfter] = [new Date('2026-06-01T00:00:00Z'), new Date('2027-01-15T00:00:00Z')]
  const { cert } = await pki.issue({ commonName: 'etl', client: true, notBefore, notAfter })
  const sslcert = join(folder.path, 'client.crt')
  await writeFile(sslcert, cert)
  const extra = { auth_method: 'ssl_cert', sslcert, sslrootcert: sslcert, sslkey: sslcert }
  const connections = [{ ...NOWHERE, extra }]
  const at = (day: string) => only({ connections, now: () => Date.parse(day) })
  const fresh = await at('2026-07-01')
  assert.deepEqual(
    [fresh.status, fresh.kind, fresh.identity, fresh.setAt, fresh.expiresAt],
    ['ok', 'tls_certificate', 'CN=etl', notBefore.getTime(), notAfter.getTime()],
  )
  assert.equal((await at('2026-12-01')).status, 'soon')
  assert.equal((await at('2027-01-15')).status, 'expired')
  await writeFile(sslcert, 'no certificate')
  const bad = await at('2026-07-01')
  assert.deepEqual([bad.status, bad.notes], ['unknown', ['it holds no certificate in PEM form']])
  // As a pipe, whose reader would wait for its writer.
  const device = await only({ connections: [{ ...NOWHERE, extra: { ...extra, sslcert: '/dev/null' } }] })
  assert.deepEqual(device.notes, ['The certificate file /dev/null is not a regular file.'])
})

test('a keytab tells the time of its newest key and its versions', async () => {
  await using kdc = await startKdc()
  await kdc.addPrincipal('etl')
  await kdc.addPrincipal('other')
  const first = await kdc.keytab('etl', 'other')
  await kdc.changeKeys('etl')
  await kdc.kadmin(`ktadd -norandkey -k ${first} etl`)
  const before = process.env['KRB5_CONFIG']
  process.env['KRB5_CONFIG'] = kdc.environment['KRB5_CONFIG']
  try {
    const extra = { auth_method: 'kerberos', keytab: first, principal: 'etl' }
    const age = await only({ connections: [{ ...NOWHERE, login: null, extra }] })
    assert.deepEqual([age.status, age.kind, age.identity], ['ok', 'kerberos_keytab', `etl@${kdc.realm}`])
    const versions = /key versions ([\d, ]+)/.exec(age.notes.join())?.[1]?.split(', ').map(Number) ?? []
    assert.equal(versions.length, 2)
    assert.deepEqual(age.sources, [`key version ${versions.at(-1)}`])
    const old = { connections: [{ ...NOWHERE, login: null, extra }], now: () => Date.now() + 400 * DAY }
    assert.equal((await only(old)).status, 'due')
    const missing = { auth_method: 'kerberos', keytab: join(kdc.folder, 'none.keytab') }
    const none = await only({ connections: [{ ...NOWHERE, login: null, extra: missing }] })
    assert.equal(none.status, 'unknown')
    assert.match(none.notes.join(), /none\.keytab/)
  } finally {
    if (before === undefined) delete process.env['KRB5_CONFIG']
    else process.env['KRB5_CONFIG'] = before
  }
})

test('the record tells the end of a client secret; what is renewed by itself is named', async () => {
  const azure = { auth_method: 'azure_ad', tenant_id: 't.example', client_id: 'app', client_secret: 'hush' }
  const extra = { ...azure, client_expires: '2027-01-10' }
  const secret = await only({ connections: [{ ...NOWHERE, extra }], now: () => Date.parse('2026-12-20') })
  assert.deepEqual([secret.status, secret.identity, secret.sources], ['soon', 'app', ['client_expires']])
  assert.equal((await only({ connections: [{ ...NOWHERE, extra: azure }] })).status, 'unknown')

  const iam = { ...NOWHERE, id: 'lake', extra: { auth_method: 'iam', region: 'eu-west-1' } }
  const { credentials, withoutAny } = await checkRotation({ connections: [iam], stores })
  assert.deepEqual([credentials, withoutAny], [[], [{ connection: 'lake', strategy: 'iam' }]])
})

test('the exit code of the command tells a scheduler what is due', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'password')
  await writeFile(file, 'first', { mode: 0o600 })
  const uri = `postgres://etl@127.0.0.1:1/sales?password_file=${encodeURIComponent(file)}`
  const environment = { POOLSMITH_CONN_SALES: uri }
  const run = async (days: number, ...args: string[]) => {
    const at = Date.now() / 1000 - days * 86_400
    await utimes(file, at, at)
    return poolsmith(['rotation', '--offline', ...args], environment)
  }
  assert.equal((await run(1)).code, 0)
  assert.equal((await run(170)).code, 20)
  const due = await run(190, 'sales', '--json')
  assert.equal(due.code, 21)
  const { ok, credentials } = JSON.parse(due.out)
  assert.deepEqual([ok, credentials[0].connection, credentials[0].status], [true, 'sales', 'due'])
  assert.match(credentials[0].dueAt, /^\d{4}-\d\d-\d\dT/)
  const policy = join(folder.path, 'policy.yaml')
  await writeFile(policy, 'database_password: { maxAgeDays: 400 }\n')
  const longer = await run(190, '--policy', policy)
  assert.deepEqual([longer.code, /^ok +sales +password_file +190 days/m.test(longer.out)], [0, true])
  await writeFile(policy, 'database_password: { maxAgeDays: -3 }\n')
  assert.equal((await run(1, '--policy', policy)).code, 3)
  const literal = { POOLSMITH_CONN_SALES: 'postgres://etl:hush-hush@127.0.0.1:1/sales' }
  const unknown = await poolsmith(['rotation', 'sales', 'sales', '--offline'], literal)
  assert.equal(unknown.code, 22)
  assert.equal(unknown.out.match(/^unknown/gm)?.length, 2)
  assert.doesNotMatch(unknown.out, /hush/)
  const broken = await poolsmith(['rotation', '--offline'], { POOLSMITH_CONN_SALES: 'postgres://db/x?sslmode=never' })
  assert.equal(broken.code, 22)
  assert.match(broken.out, /sslmode/)
})
