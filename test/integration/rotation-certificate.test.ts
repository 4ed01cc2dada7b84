/** A client certificate in a store, replaced while a pool uses it. */

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { ConfigError, PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { type RotateCertificateOptions, rotateCertificate } from '../../src/rotation/index.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { findSecrets } from '../support/object-graph.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { killAt } from '../support/rotation/kill-at.ts'
import { load } from '../support/rotation/load.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const DAY = 86_400_000
const stores = { environment: {} }

async function prepare() {
  await using stack = new AsyncDisposableStack()
  const pki = await createPki()
  const { cert, key } = await pki.issue({ commonName: 'localhost', ip: ['127.0.0.1'] })
  const hba = ['hostssl all all 127.0.0.1/32 cert']
  const server = stack.use(await startPostgres({ tls: { cert, key, ca: pki.ca }, hba }))
  await server.sql('create role etl login; create role other login')
  const vault = stack.use(await startVaultDouble())
  const folder = stack.use(await temporaryFolder())
  const sslrootcert = join(folder.path, 'root.crt')
  await writeFile(sslrootcert, pki.ca)
  let days = 10
  const issue = async (commonName = 'etl', from = pki) => {
    days += 10
    const pair = await from.issue({ commonName, client: true, notAfter: new Date(Date.now() + days * DAY) })
    return { certificate: pair.cert, privateKey: pair.key }
  }
  const first = await issue()
  await administer(vault, 'POST', 'secret/data/client', { data: { cert: first.certificate, key: first.privateKey } })
  const record = {
    type: 'postgres',
    host: server.host,
    port: server.port,
    database: 'postgres',
    extra: {
      auth_method: 'ssl_cert',
      sslmode: 'verify-ca',
      sslrootcert,
      sslcert_from: 'vault:secret/client#cert',
      sslkey_from: 'vault:secret/client#key',
      secrets_ttl: 1,
      vault_addr: vault.address,
      vault_token: vault.rootToken,
    },
  } as const
  const fields = async (): Promise<Record<string, string>> => {
    const { data } = await administer(vault, 'GET', 'secret/data/client')
    return (data as { data: Record<string, string> }).data
  }
  const held = stack.move()
  return { pki, server, vault, folder, issue, first, record, fields, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

test('a certificate is replaced with its key, after a login with both, and the pool follows', {
  timeout: 60_000,
}, async () => {
  await using bench = await prepare()
  const { record, issue, fields } = bench
  await using db = await createEngine(record, { pool_size: 4, pool_recycle: 0.05, stores })
  let isOver = false
  const serial = async (): Promise<string> =>
    (await db.raw('select client_serial::text as serial from pg_stat_ssl where pid = pg_backend_pid()')).rows[0].serial
  const work = async (): Promise<void> => {
    while (!isOver) await db.raw('select 1').then(() => sleep(5))
  }
  const workers = Promise.all([work(), work(), work()])
  workers.catch(() => undefined)
  try {
    const before = await serial()
    const second = await issue()
    const steps: string[] = []
    const result = await rotateCertificate(record, {
      stores,
      issue: async () => second,
      onStep: (step) => void steps.push(step),
    })
    assert.deepEqual(steps, ['read', 'issue', 'check', 'login', 'write'])
    assert.equal(result.subject, 'CN=etl')
    const { cert, key } = await fields()
    assert.equal(cert?.trim(), second.certificate.trim())
    assert.equal(key?.trim(), second.privateKey.trim())
    while ((await serial()) === before) await sleep(20)
  } finally {
    isOver = true
    await workers
  }
})

test('a certificate that does not fit is refused with the step, and nothing changes', { timeout: 60_000 }, async () => {
  await using bench = await prepare()
  const { record, issue, fields, first, vault } = bench
  const before = await fields()
  const told: unknown[] = []
  const failure = async (pair: RotateCertificateOptions['issue']): Promise<PoolsmithError> => {
    const audit = { record: async (facts: unknown) => void told.push(facts) }
    const error = await rotateCertificate(record, { stores, audit, issue: pair }).catch((reason: unknown) => reason)
    told.push(error)
    assert.deepEqual(await fields(), before)
    return error as PoolsmithError
  }
  const [good, strange] = [await issue(), await createPki('another CA')]
  const mismatch = await failure(async () => ({ ...good, privateKey: first.privateKey }))
  assert.deepEqual([mismatch.code, mismatch.details['step']], ['KEY_MISMATCH', 'check'])
  const other = await failure(() => issue('other'))
  assert.deepEqual([other.code, other.details['step']], ['ROTATION_REFUSED', 'check'])
  assert.match(other.message, /is for CN=other/)
  const older = await failure(async () => first)
  assert.match(older.message, /does not end later/)
  const chained = await failure(async () => ({ ...good, certificate: good.certificate + strange.ca }))
  assert.match(chained.message, /chain whose certificate 2 did not sign/)
  const foreign = await failure(() => issue('etl', strange))
  assert.equal(foreign.details['step'], 'login', inspect(foreign))
  const broken = await failure(async () => ({ ...good, certificate: 'no certificate' }))
  assert.equal(broken.code, 'CERTIFICATE_MALFORMED')
  vault.fault = ({ method }) => (method === 'POST' ? { status: 503, body: { errors: ['Vault is sealed'] } } : undefined)
  const away = await failure(() => issue())
  assert.deepEqual([away.code, away.details['step']], ['STORE_SEALED', 'write'])
  vault.fault = undefined
  const lines = (key: string): string => key.split('\n')[1] ?? ''
  assert.deepEqual(
    findSecrets([told, inspect(told, { depth: 9 })], [lines(good.privateKey), lines(first.privateKey)]),
    [],
  )
  await rotateCertificate(record, { stores, issue: () => issue() })
})

test('a rotation that is killed at any step changes nothing, and the same call replaces the certificate', {
  timeout: 180_000,
}, async () => {
  await using bench = await prepare()
  const { record, issue, folder, fields } = bench
  await using stack = new AsyncDisposableStack()
  const callers = await load(record)
  stack.defer(callers.stop)
  await callers.reopened()
  for (const step of ['read', 'issue', 'check', 'login', 'write']) {
    const { certificate, privateKey } = await issue()
    const file = join(folder.path, 'issued.pem')
    await writeFile(file, `${privateKey}\n${certificate}`, { mode: 0o600 })
    const before = await fields()
    await killAt(step, 'certificate', record, { stores, issue: `cat '${file}'` })
    assert.deepEqual(await fields(), before, step)
    await callers.reopened()
    await rotateCertificate(record, { stores, issue: `cat '${file}'` })
    assert.equal((await fields())['cert']?.trim(), certificate.trim())
    await callers.reopened()
  }
  assert.ok((await callers.end()) > 0)
})

test('two rotations at once: the one that writes last is refused, and the pair is that of the other', {
  timeout: 60_000,
}, async () => {
  await using bench = await prepare()
  const { record, issue, fields } = bench
  const second = await issue()
  const error = await rotateCertificate(record, {
    stores,
    issue: () => issue(),
    onStep: async (step) => {
      if (step === 'write') await rotateCertificate(record, { stores, issue: async () => second })
    },
  }).catch((reason: unknown) => reason as PoolsmithError)
  assert.ok(error instanceof PoolsmithError, inspect(error))
  assert.deepEqual([error.code, error.details['step']], ['SECRET_CONFLICT', 'write'])
  const { cert, key } = await fields()
  assert.deepEqual([cert?.trim(), key?.trim()], [second.certificate.trim(), second.privateKey.trim()])
})

test('a server or a store that is away at a step stops the rotation there, and nothing changes', {
  timeout: 120_000,
}, async () => {
  await using bench = await prepare()
  const { record, issue, fields, server, vault } = bench
  const before = await fields()
  const sealed = () => ({ status: 503, body: { errors: ['Vault is sealed'] } })
  const failure = async (step: string, stop: () => unknown): Promise<PoolsmithError> => {
    const onStep = async (begun: string): Promise<void> => {
      if (begun === step) await stop()
    }
    const error = await rotateCertificate(record, { stores, issue: () => issue(), onStep }).catch((one: unknown) => one)
    assert.ok(error instanceof PoolsmithError, inspect(error))
    assert.equal(error.details['step'], step)
    assert.match(error.hint ?? '', /Nothing has changed\.$/)
    return error
  }
  for (const step of ['read', 'write']) {
    const error = await failure(step, () => {
      vault.fault = sealed
    })
    assert.equal(error.code, 'STORE_SEALED')
    vault.fault = undefined
    assert.deepEqual(await fields(), before)
  }
  await failure('login', () => server.stop('immediate'))
  assert.deepEqual(await fields(), before)
  await server.start()
  await rotateCertificate(record, { stores, issue: () => issue() })
  assert.notDeepEqual(await fields(), before)
})

test('the command takes what a command of the site prints', { timeout: 60_000 }, async () => {
  await using bench = await prepare()
  const { record, issue, folder, fields } = bench
  const { certificate, privateKey } = await issue()
  const file = join(folder.path, 'issued.pem')
  await writeFile(file, `${privateKey}\n${certificate}`)
  const { extra, host, port, database } = record
  const query = new URLSearchParams(
    Object.entries(extra).map(([name, value]): [string, string] => [name, String(value)]),
  )
  const environment = {
    PATH: process.env['PATH'] ?? '',
    POOLSMITH_CONN_SALES: `postgres://${host}:${port}/${database}?${query}`,
  }
  const bad = await poolsmith(['rotate', 'sales', '--certificate-command', 'echo nothing'], environment)
  assert.deepEqual([bad.code, /printed no whole certificate/.test(bad.log)], [4, true], bad.log)
  const done = await poolsmith(['rotate', 'sales', '--certificate-command', `cat '${file}'`], environment)
  assert.equal(done.code, 0, done.log)
  assert.match(done.out, /^sales: CN=etl has a new certificate in .*, until \d{4}-/)
  assert.equal((await fields())['cert']?.trim(), certificate.trim())
})

test('a record whose certificate cannot be replaced is refused with the reason', async () => {
  const nowhere = { type: 'postgres', host: '127.0.0.1', port: 1, login: 'etl', database: 'x' } as const
  const problems = async (extra: object): Promise<string> => {
    const error = await rotateCertificate({ ...nowhere, extra: { ...extra } }, { stores, issue: 'true' }).catch(
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof ConfigError, inspect(error))
    return error.message
  }
  assert.match(await problems({}), /auth_method: is password/)
  const half = { auth_method: 'ssl_cert', sslcert: '/x/client.crt', sslkey_from: 'file:/x.json#key' }
  assert.match(await problems(half), /sslcert_from: must name a field/)
  const apart = { auth_method: 'ssl_cert', sslcert_from: 'file:/x.json#cert', sslkey_from: 'file:/y.json#key' }
  assert.match(await problems(apart), /sslkey_from: must name a field of the same secret/)
})

test('the log that the record names has a line for the rotation, and its statements', { timeout: 60_000 }, async () => {
  await using bench = await prepare()
  const file = join(bench.folder.path, 'audit.jsonl')
  const record = { ...bench.record, id: 'sales', extra: { ...bench.record.extra, audit_file: file } }
  await rotateCertificate(record, { stores, issue: () => bench.issue(), by: 'nightly' })
  const lines = (await readFile(file, 'utf8')).trim().split('\n')
  const events = lines.map((line) => JSON.parse(line) as { event: string; outcome?: string; by?: string })
  assert.ok(events.some(({ event, outcome }) => event === 'authentication' && outcome === 'success'))
  const rotations = events.filter(({ event }) => event === 'rotation')
  assert.deepEqual(
    rotations.map(({ outcome, by }) => [outcome, by]),
    [['success', 'nightly']],
  )
  assert.equal(events.at(-1)?.event, 'log')
})
