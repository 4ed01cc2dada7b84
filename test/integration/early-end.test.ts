/**
 * An engine that ends, or whose time is over, within milliseconds of its first query: whatever the opening waits for at
 * that moment, the process goes on, without an unhandled rejection, and ends by itself.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { startSilentAddress } from '../support/silent-address.ts'

const MAIN = fileURLToPath(new URL('../../src/index.ts', import.meta.url))
/** Openings in one process, each ended a little later than the one before. */
const ROUNDS = 150

/** Unknown without a question to a name server. */
const UNKNOWN_HOST = '-'

const PROGRAM = `
  const { createEngine } = await import(process.env.MAIN)
  const rounds = Number(process.env.ROUNDS)
  const record = JSON.parse(process.env.RECORD)
  const began = []
  process.on('unhandledRejection', (reason) => {
    console.error('unhandled:', reason)
    process.exit(3)
  })
  for (let round = 0; round < rounds; round++) {
    const wait = (round % 30) / 6
    const limit = round % 3 === 2 ? { pool_timeout: Math.max(0.001, wait / 1000) } : {}
    const db = await createEngine(record, { drain_timeout: 0.05, ...limit })
    const query = db.raw('select 1').then(() => 'answered', (error) => error.code)
    if (round % 3 === 0) queueMicrotask(() => db.destroy())
    if (round % 3 === 1) setTimeout(() => db.destroy(), wait)
    began.push(query.finally(() => db.destroy()))
    if (round % 10 === 9) await Promise.all(began)
  }
  const outcomes = new Set(await Promise.all(began))
  console.log([...outcomes].sort().join())
`

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function run(record: object): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--input-type=module', '-e', PROGRAM],
      { env: { ...process.env, MAIN, ROUNDS: String(ROUNDS), RECORD: JSON.stringify(record) }, timeout: 20_000 },
      (_error, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    )
  })
}

describe('an engine that ends within milliseconds of its first query', () => {
  const resources = new AsyncDisposableStack()
  after(() => resources.disposeAsync())
  const place = { ca: '', silent: 0, mute: 0, program: '' }

  before(async () => {
    const folder = resources.use(await temporaryFolder())
    place.ca = join(folder.path, 'ca.pem')
    await writeFile(place.ca, (await createPki()).ca)
    place.program = join(folder.path, 'hangs.sh')
    await writeFile(place.program, '#!/bin/sh\nsleep 60\n', { mode: 0o700 })
    await writeFile(join(folder.path, 'aws'), `[profile hangs]\ncredential_process = ${place.program}\n`)
    process.env.AWS_CONFIG_FILE = join(folder.path, 'aws')
    resources.defer(() => {
      delete process.env.AWS_CONFIG_FILE
    })
    place.silent = resources.use(await startSilentAddress('127.0.0.2')).port
    const mute = createServer((socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    resources.defer(() => {
      mute.close()
    })
    const address = mute.address()
    place.mute = typeof address === 'object' && address !== null ? address.port : 0
  })

  const cases: Record<string, () => object> = {
    'a named instance of SQL Server on an unknown host, with ca_file': () => ({
      type: 'mssql',
      host: UNKNOWN_HOST,
      login: 'sa',
      password: 'pw',
      extra: { instance_name: 'SQLEXPRESS', ca_file: place.ca },
    }),
    'a SQL Server that is silent': () => ({
      type: 'mssql',
      host: '127.0.0.1',
      port: place.mute,
      login: 'sa',
      password: 'pw',
      extra: { ca_file: place.ca },
    }),
    'a PostgreSQL server whose address drops packets': () => ({
      type: 'postgres',
      host: '127.0.0.2',
      port: place.silent,
      login: 'u',
      password: 'pw',
      extra: { sslmode: 'verify-full', sslrootcert: place.ca },
    }),
    'a PostgreSQL server that is silent': () => ({
      type: 'postgres',
      host: 'localhost',
      port: place.mute,
      login: 'u',
      password: 'pw',
      extra: { sslmode: 'verify-full', sslrootcert: place.ca },
    }),
    'an HTTP proxy that is silent': () => ({
      type: 'postgres',
      host: 'db.example.test',
      login: 'u',
      password: 'pw',
      extra: { proxy: `http://127.0.0.1:${place.mute}` },
    }),
    'a SOCKS proxy that is silent': () => ({
      type: 'mssql',
      host: 'db.example.test',
      login: 'u',
      password: 'pw',
      extra: { proxy: `socks5h://127.0.0.1:${place.mute}` },
    }),
    'a token endpoint behind a proxy that is silent': () => ({
      type: 'postgres',
      host: 'db.example.test',
      login: 'u',
      extra: {
        auth_method: 'azure_ad',
        tenant_id: '11111111-2222-3333-4444-555555555555',
        client_id: 'app',
        client_secret: 's',
        disable_instance_discovery: true,
        proxy: `http://127.0.0.1:${place.mute}`,
      },
    }),
    'a credential process that hangs': () => ({
      type: 'postgres',
      host: 'db.abc.eu-west-1.rds.amazonaws.com',
      login: 'u',
      extra: { auth_method: 'iam', aws_profile: 'hangs' },
    }),
  }

  for (const [what, record] of Object.entries(cases)) {
    test(what, async () => {
      const ended = await run(record())
      assert.equal(ended.stderr, '')
      assert.equal(ended.code, 0)
      assert.match(ended.stdout, /POOL_CLOSED/)
      assert.doesNotMatch(ended.stdout, /answered|undefined/)
    })
  }
})
