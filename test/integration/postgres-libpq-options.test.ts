/**
 * Options of libpq that protect a connection, each against the same option of psql: what psql opens we open, and what it
 * refuses we refuse. psql 15 is the oracle, and for options of later versions the same psql over libpq 18.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { PoolsmithError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'
import { libpq18 } from '../support/postgres-builds.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'

const PASSWORD = 'a p4ssword'
const WHO = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'
const run = promisify(execFile)

const stack = new AsyncDisposableStack()
let folder: string
let pki: Pki
let otherPki: Pki
let good: IssuedCertificate
let server: PostgresServer
let rootFile: string

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  pki = await createPki()
  otherPki = await createPki('another CA')
  good = await pki.issue({ commonName: 'db.test', dns: ['localhost'] })
  rootFile = await write('root.crt', pki.ca)
  server = stack.use(
    await startPostgres({
      tls: { ...good, ca: pki.ca },
      hba: ['hostnossl all plain 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 scram-sha-256'],
    }),
  )
  await server.sql(`create role etl login password '${PASSWORD}'; create role plain login`)
})
after(() => stack.disposeAsync())

async function write(name: string, content: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, content, { mode: 0o600 })
  return path
}

interface Case {
  readonly extra: Readonly<Record<string, string>>
  readonly host?: string
  readonly user?: string
  readonly server?: PostgresServer
}

/** As a URI, since libpq knows `ssl=true` in no other form. */
async function byPsql(one: Case, environment: Readonly<Record<string, string>>): Promise<string> {
  const { host = 'localhost', user = 'etl', extra, server: at = server } = one
  const where: Record<string, string> = host.startsWith('/') ? { host } : { host, hostaddr: '127.0.0.1' }
  const query = new URLSearchParams({ ...where, ...extra }).toString().replaceAll('+', '%20')
  const answer = await psql(['-At', '-c', WHO, `postgresql://${user}@/postgres?port=${at.port}&${query}`], {
    PGPASSWORD: PASSWORD,
    ...environment,
  })
  return answer.code === 0 ? answer.stdout.trim() : 'refused'
}

async function byUs({ host = 'localhost', user = 'etl', extra, server: at = server }: Case): Promise<string> {
  try {
    const { driver } = driverFor(
      { host, port: at.port, login: user, database: 'postgres' },
      host.startsWith('/') ? extra : { hostaddr: '127.0.0.1', ...extra },
    )
    await using session = await openSession(driver, passwordCredential(PASSWORD))
    return (await session.client.query({ text: WHO, rowMode: 'array' })).rows[0]?.[0] ? 't' : 'f'
  } catch (error) {
    if (!(error instanceof PoolsmithError)) throw error
    assert.notEqual(error.hint, undefined, `${error.code} needs a hint`)
    return 'refused'
  }
}

async function compare(cases: readonly Case[], environment: Readonly<Record<string, string>> = {}): Promise<string[]> {
  const seen: string[] = []
  for (const one of cases) {
    const [theirs, ours] = await Promise.all([byPsql(one, environment), byUs(one)])
    assert.equal(ours, theirs, `psql and we differ in ${JSON.stringify({ ...one, server: undefined })}`)
    seen.push(ours)
  }
  return seen
}

test('ssl=true never opens a session without TLS', async () => {
  const found = await compare([
    { extra: { ssl: 'true' } },
    { extra: { ssl: 'true' }, user: 'plain' },
    { extra: {}, user: 'plain' },
  ])
  assert.deepEqual(found, ['t', 'refused', 'f'])
})

/** A folder of revocation lists under the names by which OpenSSL looks for them. */
async function crlFolder(name: string, lists: readonly string[]): Promise<string> {
  const path = join(folder, name)
  await mkdir(path)
  for (const [index, list] of lists.entries()) {
    const file = await write(`${name}-${index}.crl`, list)
    const { stdout } = await run('/usr/bin/openssl', ['crl', '-in', file, '-hash', '-noout'])
    await copyFile(file, join(path, `${stdout.trim()}.r0`))
  }
  return path
}

test('sslcrldir refuses a revoked certificate, and one that none of its lists covers', async () => {
  const folders = {
    fine: await crlFolder('fine', [await otherPki.crl([]), await pki.crl([])]),
    revoked: await crlFolder('revoked', [await otherPki.crl([]), await pki.crl([good.serial])]),
    stranger: await crlFolder('stranger', [await otherPki.crl([])]),
  }
  const found: Record<string, string[]> = {}
  for (const [name, sslcrldir] of Object.entries(folders)) {
    found[name] = await compare(
      ['prefer', 'require', 'verify-full'].map((sslmode) => ({ extra: { sslmode, sslrootcert: rootFile, sslcrldir } })),
    )
  }
  const refused = ['f', 'refused', 'refused']
  assert.deepEqual(found, { fine: ['t', 't', 't'], revoked: refused, stranger: refused })
  const empty = { sslmode: 'verify-full', sslrootcert: rootFile, sslcrldir: await crlFolder('empty', []) }
  assert.deepEqual(await compare([{ extra: empty }]), ['refused'])
})

test('a list in sslcrl counts beside those in sslcrldir', async () => {
  const revoked = await write('beside.crl', await pki.crl([good.serial]))
  const clean = await write('clean.crl', await pki.crl([]))
  const stranger = await crlFolder('beside', [await otherPki.crl([])])
  const common = { sslmode: 'verify-full', sslrootcert: rootFile, sslcrldir: stranger }
  const found = await compare([{ extra: { ...common, sslcrl: revoked } }, { extra: { ...common, sslcrl: clean } }])
  assert.deepEqual(found, ['refused', 't'])
})

test('every list in the file of sslcrl counts, and not the first alone', async () => {
  const lists = await Promise.all([otherPki.crl([]), pki.crl([])])
  const both = await write('both.crl', lists.join(''))
  const revoked = await write('both-revoked.crl', `${lists[0]}${await pki.crl([good.serial])}`)
  const common = { sslmode: 'verify-full', sslrootcert: rootFile }
  const found = await compare([{ extra: { ...common, sslcrl: both } }, { extra: { ...common, sslcrl: revoked } }])
  assert.deepEqual(found, ['t', 'refused'])
})

test('a CA and a list that are emptied for a moment count as the last good ones, and a warning says so once', async () => {
  const [sslrootcert, sslcrl] = [await write('moving.crt', pki.ca), await write('moving.crl', await pki.crl([]))]
  const target = { host: 'localhost', port: server.port, login: 'etl', database: 'postgres' }
  const { driver, events } = driverFor(target, { hostaddr: '127.0.0.1', sslmode: 'verify-full', sslrootcert, sslcrl })
  const verified = async (): Promise<unknown> => {
    await using session = await openSession(driver, passwordCredential(PASSWORD))
    return driver.info(session.client).encryption.verified
  }
  assert.equal(await verified(), 'hostname')
  await write('moving.crt', '')
  await write('moving.crl', '')
  assert.deepEqual([await verified(), await verified()], ['hostname', 'hostname'])
  const codes = events.flatMap(({ payload }) => ('code' in payload ? [payload.code] : []))
  assert.deepEqual(codes.sort(), ['CA_FILE_MALFORMED', 'CRL_FILE_MALFORMED'])
  await write('moving.crt', otherPki.ca)
  await assert.rejects(verified(), PoolsmithError)
  await write('moving.crt', pki.ca)
  await write('moving.crl', await pki.crl([good.serial]))
  await assert.rejects(verified(), { code: 'TLS_CERTIFICATE_REVOKED' })
})

test('sslcertmode: no certificate is sent, or it must have been asked for and sent, as in libpq 16 and later', async () => {
  const issued = await pki.issue({ commonName: 'etl', client: true })
  const files = { sslcert: await write('etl.crt', issued.cert), sslkey: await write('etl.key', issued.key) }
  await using asking = await startPostgres({
    tls: { ...good, ca: pki.ca },
    hba: ['host all all 127.0.0.1/32 scram-sha-256'],
  })
  await using indifferent = await startPostgres({ tls: good })
  for (const one of [asking, indifferent]) await one.sql(`create role etl login password '${PASSWORD}'`)
  const cases = [asking, indifferent].flatMap((at) =>
    [files, {}].flatMap((own): Case[] =>
      ['disable', 'allow', 'require'].flatMap((sslcertmode) =>
        ['disable', 'allow', 'prefer', 'require'].map((sslmode) => ({
          server: at,
          extra: { sslmode, sslcertmode, ...own },
        })),
      ),
    ),
  )
  const found = await compare(cases, await libpq18())
  const requires = cases.flatMap(({ extra }, index) => (extra.sslcertmode === 'require' ? [found[index]] : []))
  // Asked for and sent, under prefer and require; refused in every other case.
  assert.deepEqual(
    requires.map((outcome) => outcome === 't'),
    [false, false, true, true, ...Array(12).fill(false)],
  )
})

test('sslcertmode=disable leaves a certificate out that the server would take', async () => {
  const issued = await pki.issue({ commonName: 'postgres', client: true })
  const files = { sslcert: await write('super.crt', issued.cert), sslkey: await write('super.key', issued.key) }
  await using strict = await startPostgres({ tls: { ...good, ca: pki.ca }, hba: ['hostssl all all 127.0.0.1/32 cert'] })
  const found = await compare(
    ['allow', 'disable'].map((sslcertmode) => ({
      server: strict,
      user: 'postgres',
      extra: { sslmode: 'require', sslcertmode, ...files },
    })),
    await libpq18(),
  )
  assert.deepEqual(found, ['t', 'refused'])
})

test('requirepeer holds the server process behind a Unix socket to one user', async () => {
  const { stdout } = await run('ps', ['-o', 'user=', '-p', String(server.pid)])
  const owner = stdout.trim()
  const found = await compare(
    [owner, 'somebody', `${owner}x`].map((requirepeer) => ({
      host: server.socketDirectory,
      user: 'plain',
      extra: { requirepeer },
    })),
  )
  assert.deepEqual(found, ['f', 'refused', 'refused'])
})

test('versions of the protocol, with servers that know 3.2 and that do not', async () => {
  await using older = await startPostgres({ flavor: 'debian' })
  await older.sql(`create role etl login password '${PASSWORD}'`)
  const versions = [undefined, '3.0', '3.2', 'latest']
  const cases = [server, older].flatMap((at) =>
    versions.flatMap((lowest) =>
      versions.map(
        (highest): Case => ({
          server: at,
          extra: {
            sslmode: 'disable',
            ...(lowest === undefined ? {} : { min_protocol_version: lowest }),
            ...(highest === undefined ? {} : { max_protocol_version: highest }),
          },
        }),
      ),
    ),
  )
  const found = await compare(cases, await libpq18())
  assert.deepEqual([...new Set(found)].sort(), ['f', 'refused'])
})

test('a statement is cancelled by the longer key of protocol 3.2 too', { timeout: 60_000 }, async () => {
  const target = { host: 'localhost', port: server.port, login: 'etl', database: 'postgres' }
  for (const max_protocol_version of ['3.0', '3.2']) {
    const { driver } = driverFor(target, { hostaddr: '127.0.0.1', max_protocol_version })
    await using session = await openSession(driver, passwordCredential(PASSWORD))
    const sleeping = assert.rejects(session.client.query('select pg_sleep(60)'), { code: '57014' })
    const active = `select count(*) from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active' and pid <> pg_backend_pid()`
    while ((await server.sql(active)) === '0') await new Promise((resolve) => setTimeout(resolve, 20))
    await driver.cancel(session.client, AbortSignal.timeout(10_000))
    await sleeping
  }
})
