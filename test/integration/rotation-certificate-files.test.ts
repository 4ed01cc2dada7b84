/** A client certificate and its key in two files, replaced while a pool uses them. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { chmod, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { type RotateCertificateOptions, rotateCertificate } from '../../src/rotation/index.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { findSecrets } from '../support/object-graph.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { killAt } from '../support/rotation/kill-at.ts'
import { load } from '../support/rotation/load.ts'

const DAY = 86_400_000
const stores = { environment: {} }
const STEPS = ['read', 'issue', 'check', 'login', 'write', 'key', 'certificate'] as const

async function prepare() {
  await using stack = new AsyncDisposableStack()
  const pki = await createPki()
  const { cert, key } = await pki.issue({ commonName: 'localhost', ip: ['127.0.0.1'] })
  const hba = ['hostssl all all 127.0.0.1/32 cert']
  const server = stack.use(await startPostgres({ tls: { cert, key, ca: pki.ca }, hba }))
  await server.sql('create role etl login')
  const folder = stack.use(await temporaryFolder())
  const path = (name: string): string => join(folder.path, name)
  const [sslcert, sslkey, sslrootcert] = [path('client.crt'), path('client.key'), path('root.crt')]
  await writeFile(sslrootcert, pki.ca)
  let days = 10
  const issue = async () => {
    days += 10
    const pair = await pki.issue({ commonName: 'etl', client: true, notAfter: new Date(Date.now() + days * DAY) })
    return { certificate: pair.cert, privateKey: pair.key }
  }
  /** A command of the site that prints a new pair. */
  const command = async (): Promise<string> => {
    const { certificate, privateKey } = await issue()
    await writeFile(path('issued.pem'), `${privateKey}\n${certificate}`, { mode: 0o600 })
    return `cat '${path('issued.pem')}'`
  }
  const first = await issue()
  await writeFile(sslcert, first.certificate, { mode: 0o644 })
  await writeFile(sslkey, first.privateKey, { mode: 0o600 })
  const extra = { auth_method: 'ssl_cert', sslmode: 'verify-ca', sslrootcert, sslcert, sslkey } as const
  const record = { type: 'postgres', host: server.host, port: server.port, database: 'postgres', extra } as const
  const held = stack.move()
  return {
    server,
    path,
    issue,
    command,
    first,
    record,
    sslcert,
    sslkey,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

/** A process that starts now can log in. */
async function canStart(record: Awaited<ReturnType<typeof prepare>>['record']): Promise<void> {
  await using db = await createEngine(record, { pool_size: 1, stores })
  await db.raw('select 1')
}

test('a rotation that is killed at any step is finished by the same call, and no statement fails', {
  timeout: 300_000,
}, async () => {
  await using bench = await prepare()
  const { record, command, sslcert, sslkey } = bench
  await using stack = new AsyncDisposableStack()
  const callers = await load(record)
  stack.defer(callers.stop)
  await callers.reopened()
  const present = async (): Promise<string[]> => [await readFile(sslcert, 'utf8'), await readFile(sslkey, 'utf8')]
  for (const step of STEPS) {
    const before = await present()
    const issue = await command()
    await killAt(step, 'certificate', record, { stores, issue })
    await callers.reopened()
    await canStart(record)
    const between = await present()
    assert.deepEqual(
      between.map((text, at) => text === before[at]),
      [true, step !== 'certificate'],
      step,
    )
    const hasBegun = step === 'key' || step === 'certificate'
    assert.equal(existsSync(`${sslcert}.new`), hasBegun, step)
    const { resumed, subject } = await rotateCertificate(record, { stores, issue })
    assert.deepEqual({ resumed, subject }, { resumed: hasBegun, subject: 'CN=etl' })
    const after = await present()
    assert.ok(after.every((text, at) => text !== before[at]))
    for (const file of [sslcert, sslkey]) assert.equal(existsSync(`${file}.new`), false)
    assert.deepEqual([(await stat(sslcert)).mode & 0o777, (await stat(sslkey)).mode & 0o777], [0o644, 0o600])
    await canStart(record)
    await callers.reopened()
  }
  assert.ok((await callers.end()) > 0)
})

test('one file with the certificate and the key is replaced whole', { timeout: 60_000 }, async () => {
  await using bench = await prepare()
  const { path, first, issue } = bench
  const file = path('both.pem')
  await writeFile(file, `${first.certificate}${first.privateKey}`, { mode: 0o600 })
  const record = { ...bench.record, extra: { ...bench.record.extra, sslcert: file, sslkey: file } }
  const next = await issue()
  const { place } = await rotateCertificate(record as never, { stores, issue: async () => next })
  assert.equal(place, file)
  const text = await readFile(file, 'utf8')
  for (const part of [next.certificate, next.privateKey]) assert.ok(text.includes(part.trim()))
  await canStart(record as never)
})

test('files that are not ours, a second rotation, and what an older one left, do not stop the one that is right', {
  timeout: 60_000,
}, async () => {
  await using bench = await prepare()
  const { record, issue, path, sslcert, sslkey, first } = bench
  const told: unknown[] = []
  const failure = async (options: Partial<RotateCertificateOptions> = {}, given: object = record) => {
    const error = await rotateCertificate(given as never, { stores, issue, ...options }).catch(
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof PoolsmithError, inspect(error))
    told.push(error)
    assert.equal(await readFile(sslkey, 'utf8'), first.privateKey)
    return error
  }
  const nowhere = await failure({}, { ...record, extra: { ...record.extra, sslkey: path('nowhere.key') } })
  assert.deepEqual([nowhere.code, nowhere.details['step']], ['KEY_FILE_MISSING', 'read'])
  const link = path('link.key')
  await symlink(sslkey, link)
  const linked = await failure({}, { ...record, extra: { ...record.extra, sslkey: link } })
  assert.deepEqual([linked.code, linked.details['step']], ['CERTIFICATE_FILE_REFUSED', 'read'])
  assert.match(linked.message, /link\.key .*symbolic link/)
  await chmod(sslcert, 0o666)
  assert.match((await failure()).message, /client\.crt .*may be written by other users/)
  await chmod(sslcert, 0o644)
  const inside = { ...record, extra: { ...record.extra, sslcert: first.certificate } }
  assert.match((await failure({}, inside)).message, /sslcert: is in the record itself/)
  const wrong = await failure({ issue: async () => ({ ...(await issue()), privateKey: first.privateKey }) })
  assert.deepEqual([wrong.code, wrong.details['step']], ['KEY_MISMATCH', 'check'])

  // Cut off, as after a crash of the machine.
  await writeFile(`${sslcert}.new`, first.certificate.slice(0, 100), { mode: 0o600 })
  const codes: string[] = []
  const done = await rotateCertificate(record, {
    stores,
    issue,
    onStep: async (step) => {
      if (step === 'check') codes.push((await failure()).code)
    },
  })
  assert.deepEqual([codes, done.resumed], [['ROTATION_RUNNING'], false])
  const lines = first.privateKey.split('\n')[1] ?? ''
  assert.deepEqual(findSecrets([told, inspect(told, { depth: 9 })], [lines]), [])
})

test('a key without its certificate is an error where nothing fitting stands beside it', {
  timeout: 60_000,
}, async () => {
  await using bench = await prepare()
  const { record, issue, sslcert, sslkey } = bench
  const [one, other] = [await issue(), await issue()]
  await writeFile(sslkey, one.privateKey)
  await writeFile(`${sslcert}.new`, other.certificate)
  await assert.rejects(canStart(record), { code: 'KEY_MISMATCH' })
  await writeFile(`${sslcert}.new`, one.certificate)
  await canStart(record)
  await rm(`${sslcert}.new`)
  await assert.rejects(canStart(record), { code: 'KEY_MISMATCH' })
})

test('the command replaces certificate and key in files', { timeout: 60_000 }, async () => {
  await using bench = await prepare()
  const { record, command, sslcert, sslkey } = bench
  const { extra, host, port, database } = record
  const environment = {
    PATH: process.env['PATH'] ?? '',
    POOLSMITH_CONN_SALES: `postgres://${host}:${port}/${database}?${new URLSearchParams(extra)}`,
  }
  const done = await poolsmith(['rotate', 'sales', '--certificate-command', await command()], environment)
  assert.equal(done.code, 0, done.log)
  assert.ok(done.out.startsWith(`sales: CN=etl has a new certificate in ${sslcert} and ${sslkey}, until`), done.out)
})
