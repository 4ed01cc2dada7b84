/** A password in a store, over a real PostgreSQL on which it changes. */

import assert from 'node:assert/strict'
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { createEngine } from '../../src/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { load } from '../support/rotation/load.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

interface Place extends Partial<AsyncDisposable> {
  readonly reference: string
  readonly extra?: Readonly<Record<string, unknown>>
  readonly environment?: Record<string, string>
  write(password: string): Promise<void>
  /**
   * For a store that keeps the password before the present one: whether a session was opened with it since the present
   * one was written.
   */
  hasServedBefore?(): boolean
}

const PLACES: Readonly<Record<string, (folder: string) => Promise<Place>>> = {
  async 'a file'(folder) {
    const file = join(folder, 'password')
    return {
      reference: `file:${file}`,
      async write(password) {
        await writeFile(`${file}.new`, `${password}\n`, { mode: 0o600 })
        await rename(`${file}.new`, file)
      },
    }
  },
  async 'a field of a file'(folder) {
    const file = join(folder, 'sales.json')
    return {
      reference: `file:${file}#password`,
      async write(password) {
        await writeFile(`${file}.new`, JSON.stringify({ user: 'etl', password }), { mode: 0o600 })
        await rename(`${file}.new`, file)
      },
    }
  },
  async 'a variable'() {
    const environment: Record<string, string> = {}
    return {
      reference: 'env:SALES_PASSWORD',
      environment,
      async write(password) {
        environment['SALES_PASSWORD'] = password
      },
    }
  },
  async 'a mounted secret of Kubernetes'(folder) {
    let version = 0
    return {
      reference: `k8s:${folder}#password`,
      // As the kubelet does: a folder for each state, and a link that is moved from one to the next.
      async write(password) {
        const name = `..state_${++version}`
        await mkdir(join(folder, name))
        await writeFile(join(folder, name, 'password'), password, { mode: 0o644 })
        await symlink(name, join(folder, '..data_new'))
        await rename(join(folder, '..data_new'), join(folder, '..data'))
        if (version === 1) await symlink(join('..data', 'password'), join(folder, 'password'))
        else await rm(join(folder, `..state_${version - 1}`), { recursive: true })
      },
    }
  },
  async 'the key-value engine of Vault'() {
    const vault = await startVaultDouble()
    return {
      reference: 'vault:secret/sales#password',
      extra: { vault_addr: vault.address, vault_token: vault.rootToken, secrets_ttl: 1 },
      async write(password) {
        await administer(vault, 'POST', 'secret/data/sales', { data: { password } })
        vault.asked.length = 0
      },
      hasServedBefore: () => vault.asked.some(({ path }) => path.startsWith('secret/data/sales?version=')),
      [Symbol.asyncDispose]: () => vault[Symbol.asyncDispose](),
    }
  },
}

const ROTATIONS = 4

async function setPassword(server: PostgresServer, password: string): Promise<void> {
  await server.sql(`alter role etl password '${password}'`)
}

/** Changes the password in the store and on the server while no login is decided: the server's lock holds logins back. */
async function rotateTogether(server: PostgresServer, password: string, write: () => Promise<void>): Promise<void> {
  const { host, port, superuser: user, superuserPassword } = server
  const client = new pg.Client({ host, port, user, password: superuserPassword, database: 'postgres' })
  await client.connect()
  await client.query('begin; lock table pg_authid in access exclusive mode')
  await client.query(`alter role etl password '${password}'`)
  await write()
  await client.query('commit')
  await client.end()
}

for (const [kind, startPlace] of Object.entries(PLACES)) {
  test(`${kind} gives the password, and a rotation costs no failed statement`, { timeout: 120_000 }, async () => {
    await using folder = await temporaryFolder()
    await using server = await startPostgres()
    await server.sql('create role etl login')
    const place = await startPlace(folder.path)
    await using stack = new AsyncDisposableStack()
    stack.defer(async () => place[Symbol.asyncDispose]?.())
    await setPassword(server, 'password-0')
    await place.write('password-0')
    const callers = await load(
      {
        type: 'postgres',
        host: server.host,
        port: server.port,
        login: 'etl',
        database: 'postgres',
        extra: { password_from: place.reference, ...place.extra },
      },
      { pool_size: 4, stores: { environment: place.environment ?? {} } },
    )
    stack.defer(callers.stop)
    for (let round = 1; round <= ROTATIONS; round++) {
      await callers.reopened(4)
      const password = `password-${round}`
      if (place.hasServedBefore === undefined) {
        await rotateTogether(server, password, () => place.write(password))
        continue
      }
      await place.write(password)
      // Sessions are opened while the server does not know the password of the store yet.
      while (!place.hasServedBefore()) await sleep(10)
      await callers.reopened(4)
      await setPassword(server, password)
    }
    await callers.reopened(4)
    assert.ok((await callers.end()) > 0)
  })
}

for (const retire_on of ['rotation', 'never'] as const) {
  test(`retire_on=${retire_on}: sessions after a rotation in the store`, { timeout: 60_000 }, async () => {
    await using folder = await temporaryFolder()
    await using server = await startPostgres()
    await server.sql("create role etl login password 'password-0'")
    const file = join(folder.path, 'password')
    const write = async (password: string): Promise<void> => {
      await writeFile(`${file}.new`, password, { mode: 0o600 })
      await rename(`${file}.new`, file)
    }
    await write('password-0')
    const { host, port } = server
    const extra = { password_from: `file:${file}` }
    const record = { type: 'postgres', host, port, login: 'etl', database: 'postgres', extra } as const
    await using db = await createEngine(record, { pool_size: 1, max_overflow: 0, retire_on })
    const processId = async (): Promise<number> => (await db.raw('select pg_backend_pid() as id')).rows[0].id
    const first = await processId()
    await server.sql("alter role etl password 'password-1'")
    const isFollowed = new Promise<void>((resolve) => {
      db.pool.on('credential:refreshed', () => resolve())
    })
    await write('password-1')
    // The file is read while the pool is in use.
    let isOver = false
    const asking = (async () => {
      while (!isOver) {
        await processId()
        await sleep(20)
      }
    })()
    await isFollowed
    isOver = true
    await asking
    const isSame = (await processId()) === first
    assert.equal(isSame, retire_on === 'never')
  })
}
