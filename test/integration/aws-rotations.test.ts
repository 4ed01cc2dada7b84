/** A password in Secrets Manager, rotated as AWS' rotation functions do it, over a real PostgreSQL under load. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { createEngine, type Engine, type EngineOptions } from '../../src/index.ts'
import { type AwsDouble, REGION, refuse, startAwsDouble } from '../support/aws/stores-double.ts'
import { findSecrets } from '../support/object-graph.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { load } from '../support/rotation/load.ts'

const KEY = 'secret-of-the-test-key'

function recordOf(server: PostgresServer, aws: AwsDouble) {
  const extra = {
    password_from: 'aws-sm:prod/sales#password',
    region: REGION,
    aws_endpoint_url: aws.url,
    aws_access_key_id: 'AKIATEST',
    aws_secret_access_key: KEY,
    secrets_ttl: 1,
  }
  return { type: 'postgres', host: server.host, port: server.port, login: 'etl', database: 'postgres', extra } as const
}

function engineOn(server: PostgresServer, aws: AwsDouble, options: EngineOptions = {}): Promise<Engine> {
  return createEngine(recordOf(server, aws), { pool_recycle: 0.1, stores: { environment: {} }, ...options })
}

const inJson = (password: string): string => JSON.stringify({ username: 'etl', password })

test('a rotation by the stages of Secrets Manager costs no failed statement', { timeout: 120_000 }, async () => {
  await using aws = await startAwsDouble()
  await using server = await startPostgres()
  await server.sql("create role etl login password 'password-0'")
  aws.secrets.put('prod/sales', inJson('password-0'))
  await using stack = new AsyncDisposableStack()
  const callers = await load(recordOf(server, aws), { pool_size: 4 })
  stack.defer(callers.stop)
  for (let round = 1; round <= 3; round++) {
    await callers.reopened(4)
    const password = `password-${round}`
    // createSecret, setSecret, testSecret, finishSecret.
    aws.secrets.put('prod/sales', inJson(password), ['AWSPENDING'])
    await server.sql(`alter role etl password '${password}'`)
    // The store still gives the old password as the present one.
    await callers.reopened(4)
    aws.secrets.promote('prod/sales')
  }
  await callers.reopened(4)
  assert.ok((await callers.end()) > 0)
  assert.ok(aws.asked.some(({ input }) => input.VersionStage === 'AWSPENDING'))
})

test('a server that is behind the store is opened by the previous version', { timeout: 60_000 }, async () => {
  await using aws = await startAwsDouble()
  await using server = await startPostgres()
  await server.sql("create role etl login password 'old'")
  aws.secrets.put('prod/sales', inJson('old'))
  aws.secrets.put('prod/sales', inJson('new'))
  await using db = await engineOn(server, aws)
  await db.raw('select 1')
  const [first, again, ...others] = aws.asked.map(({ input }) => input.VersionStage).slice(0, 4)
  assert.deepEqual([first, again], ['AWSCURRENT', 'AWSCURRENT'])
  // Both are asked for at once.
  assert.deepEqual(others.sort(), ['AWSPENDING', 'AWSPREVIOUS'])
})

test('no object that can be reached, event or error holds the password or the key', { timeout: 60_000 }, async () => {
  await using aws = await startAwsDouble()
  await using server = await startPostgres()
  const password = 'Passw0rd-of-the-store'
  await server.sql(`create role etl login password '${password}'`)
  aws.secrets.put('prod/sales', inJson(password))
  const told: unknown[] = []
  const tell = (payload: unknown): void => void told.push(payload)
  await using db = await engineOn(server, aws, {
    on: { 'credential:refreshed': tell, 'credential:failed': tell, 'secret:stale': tell, 'connection:opened': tell },
  })
  await db.raw('select 1')
  aws.fault = (_action, response) => {
    refuse(response, 'ThrottlingException', `Rate exceeded for ${KEY} ${password}`, { status: 400 })
    return true
  }
  while (told.length < 4) {
    await db.raw('select 1')
    await sleep(20)
  }
  assert.deepEqual(findSecrets([db.connection, inspect(db, { depth: 8, showHidden: true })], [password, KEY]), [])
  assert.deepEqual(findSecrets(told, [KEY]), [])
})
