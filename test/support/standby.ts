/** Standbys of a real PostgreSQL by streaming replication, for tests of several hosts. */

import { execFile } from 'node:child_process'
import { appendFile, chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { temporaryRoot } from './folder.ts'
import { freePort } from './free-port.ts'
import { PostgresServer } from './postgres.ts'

const FOLLOW_LIMIT_MILLIS = 30_000

/** The lines of pg_hba.conf of a server that has standbys. */
export const REPLICATED = ['local replication all trust', 'host all all 127.0.0.1/32 scram-sha-256']

/**
 * Copies a running server and starts the copy as its standby, on a port of its own; disposing removes it.
 *
 * @param host where it follows the primary
 */
export async function startStandby(primary: PostgresServer, host = primary.socketDirectory): Promise<PostgresServer> {
  const { bin, account, environment, password } = primary.setup
  const folder = await mkdtemp(join(temporaryRoot(), 'poolsmith-pg-'))
  const port = await freePort()
  const standby = new PostgresServer({ folder, bin, port, password, account, environment })
  try {
    await chmod(folder, 0o755)
    if (account !== undefined) await chown(folder, account.uid, account.gid)
    const from = ['-h', host, '-p', String(primary.port), '-U', primary.superuser]
    await promisify(execFile)(
      join(bin, 'pg_basebackup'),
      ['-D', standby.dataDirectory, '-R', '-X', 'stream', '-c', 'fast', '--no-sync', '-w', ...from],
      { ...account, cwd: folder, env: { PATH: process.env.PATH, LC_ALL: 'C' }, timeout: 60_000 },
    )
    const lines = [
      `port = '${port}'`,
      `listen_addresses = '${standby.host}'`,
      `unix_socket_directories = '${folder}'`,
      '',
    ]
    await appendFile(join(standby.dataDirectory, 'postgresql.conf'), lines.join('\n'))
    await standby.start()
    // A primary that is stopped sends the rest to standbys that follow it, and not to one that is about to.
    const deadline = Date.now() + FOLLOW_LIMIT_MILLIS
    while ((await standby.sql("select 1 from pg_stat_wal_receiver where status = 'streaming'")) !== '1') {
      if (Date.now() > deadline) throw new Error(`The standby does not follow the primary:\n${standby.log()}`)
      await sleep(20)
    }
    return standby
  } catch (error) {
    await standby[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** Makes a standby the primary; resolves when it accepts writes. */
export async function promote(standby: PostgresServer): Promise<void> {
  await standby.sql('select pg_promote(true, 30)')
}
