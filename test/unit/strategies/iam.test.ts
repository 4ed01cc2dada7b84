import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import type { Credential } from '../../../src/credentials/credential.ts'
import { ConfigError } from '../../../src/errors.ts'
import { iam } from '../../../src/strategies/iam.ts'
import { build, problemPaths } from './context.ts'

const RDS = 'db.abc.eu-west-1.rds.amazonaws.com'
const keys = { aws_access_key_id: 'AKIA', aws_secret_access_key: 'secret-key' }

async function scopeOf(host: string, extra = {}, environment: Record<string, string> = {}): Promise<string> {
  const { source } = await build(iam, { host, login: 'svc' }, { ...keys, ...extra }, { environment })
  const credential: Credential = await source.get()
  source.close()
  assert.equal(credential.kind, 'token')
  const url = new URL(`https://${credential.token.reveal()}`)
  return `${url.host} ${url.searchParams.get('X-Amz-Credential')?.split('/')[2]} ${url.searchParams.get('DBUser')}`
}

describe('iam', () => {
  test('takes the region from the extras, then the RDS host name, then the environment', async () => {
    const environment = { AWS_REGION: 'us-east-2', AWS_DEFAULT_REGION: 'us-west-1' }
    assert.equal(await scopeOf(RDS, { region: 'ap-south-1' }, environment), `${RDS}:5432 ap-south-1 svc`)
    assert.equal(await scopeOf(RDS, {}, environment), `${RDS}:5432 eu-west-1 svc`)
    assert.equal(await scopeOf('db.internal', {}, environment), 'db.internal:5432 us-east-2 svc')
    assert.equal(
      await scopeOf('db.internal', {}, { AWS_DEFAULT_REGION: 'us-west-1' }),
      'db.internal:5432 us-west-1 svc',
    )
    assert.equal(await scopeOf('db.internal', { region_name: 'eu-north-1' }), 'db.internal:5432 eu-north-1 svc')
  })

  test('signs for the endpoint that is named for a tunnel', async () => {
    assert.equal(await scopeOf('localhost', { rds_endpoint: `${RDS}:6000` }), `${RDS}:6000 eu-west-1 svc`)
    assert.equal(await scopeOf('localhost', { rds_endpoint: RDS }), `${RDS}:5432 eu-west-1 svc`)
  })

  test('names all missing and contradicting options at once', async () => {
    assert.deepEqual(await problemPaths(build(iam, {}, {})), ['host', 'login'])
    assert.deepEqual(await problemPaths(build(iam, { host: 'db.internal', login: 'svc' })), ['extra.region'])
    assert.deepEqual(await problemPaths(build(iam, { host: RDS, login: 'svc' }, { rds_endpoint: 'a:b:c' })), [
      'extra.rds_endpoint',
    ])
    const mixed = { aws_access_key_id: 'AKIA', aws_profile: 'p', external_id: 'x' }
    assert.deepEqual(await problemPaths(build(iam, { host: RDS, login: 'svc' }, mixed)), [
      'extra.aws_secret_access_key',
      'extra.aws_profile',
      'extra.external_id',
    ])
    assert.deepEqual(
      await problemPaths(build(iam, { host: RDS, login: 'svc' }, { aws_secret_access_key: 'secret-key' })),
      ['extra.aws_access_key_id'],
    )
  })

  test('a custom host without a region is an error with a hint', async () => {
    await assert.rejects(build(iam, { host: 'db.internal', login: 'svc' }), (error: unknown) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, /db\.internal does not say its AWS region; set region, or AWS_REGION/)
      return true
    })
  })

  test('a region that the host contradicts is a warning', async () => {
    const { source, events } = await build(iam, { host: RDS, login: 'svc' }, { ...keys, region: 'us-east-1' })
    assert.deepEqual(events, [
      {
        name: 'config:warning',
        payload: {
          path: 'extra.region',
          message: 'says us-east-1, but the host is in eu-west-1: the server will refuse the token',
        },
      },
    ])
    source.close()
  })

  test('the token expires at the time that it states, and is not shown', async () => {
    const { source, events } = await build(iam, { host: RDS, login: 'svc' }, keys)
    const before = Math.floor(Date.now() / 1000) * 1000
    const credential = await source.get()
    assert.ok(credential.issuedAt >= before && credential.issuedAt <= Date.now())
    assert.equal(credential.expiresAt, credential.issuedAt + 900_000)
    assert.equal(credential.identity, 'AKIA')
    assert.equal(credential.user, 'svc')
    const shown = inspect([credential, source, events], { depth: 12, showHidden: true }) + JSON.stringify(credential)
    assert.ok(!/X-Amz|secret-key/.test(shown))
    source.close()
  })
})
