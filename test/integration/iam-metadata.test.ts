/** A metadata service that is late, throttles, hangs or never ends: what a fetch of AWS keys makes of it. */

import assert from 'node:assert/strict'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import test, { after, beforeEach, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CredentialSource } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import type { PoolsmithEvents } from '../../src/events.ts'
import { iam } from '../../src/strategies/iam.ts'
import { clearAwsEnvironment } from '../support/aws-environment.ts'
import { startAwsMetadata } from '../support/aws-metadata.ts'
import { answerWithoutEnd } from '../support/endless.ts'
import { temporaryFolder } from '../support/folder.ts'
import { build } from '../unit/strategies/context.ts'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
beforeEach(() => clearAwsEnvironment(folder.path))
after(() => clearAwsEnvironment(folder.path))

interface Fetching extends Disposable {
  readonly source: CredentialSource
  failures(): PoolsmithError[]
}

async function sourceFor(extra: Record<string, unknown> = {}): Promise<Fetching> {
  const connection = { host: 'db.abc.eu-west-1.rds.amazonaws.com', login: 'svc' }
  const { source, events } = await build(iam, connection, extra, { environment: process.env as Record<string, string> })
  return {
    source,
    failures: () =>
      events
        .filter(({ name }) => name === 'credential:failed')
        .map(({ payload }) => (payload as PoolsmithEvents['credential:failed']).error),
    [Symbol.dispose]: () => source.close(),
  }
}

async function failureOf(source: CredentialSource): Promise<PoolsmithError> {
  const outcome = await source.get().catch((error: unknown) => error)
  assert.ok(outcome instanceof PoolsmithError, 'a token was given')
  return outcome
}

describe('a metadata service in trouble at the first fetch', () => {
  for (const [what, answer] of [
    ['answers 404', (response: ServerResponse) => response.writeHead(404).end()],
    ['answers 429', (response: ServerResponse) => response.writeHead(429).end()],
    ['answers 503', (response: ServerResponse) => response.writeHead(503).end()],
    ['closes the connection', (response: ServerResponse) => response.destroy()],
    [
      'closes it in the middle of an answer',
      (response: ServerResponse) => {
        response.writeHead(200, { 'content-length': '100' })
        response.write('a', () => response.destroy())
      },
    ],
    ['hangs', () => undefined],
  ] as const) {
    test(`it ${what} for a while: the keys arrive, and the error names the service and the hop limit`, async () => {
      let ill = true
      await using metadata = await startAwsMetadata((_request, response) => {
        if (ill) answer(response)
        return ill
      })
      process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = metadata.url
      using fetching = await sourceFor({ credential_timeout: 0.5 })
      const waiting = fetching.source.get()
      while (fetching.failures().length === 0) await sleep(5)
      ill = false
      assert.equal((await waiting).identity, 'ASIAMACHINE')
      const [failure] = fetching.failures()
      assert.deepEqual([failure?.code, failure?.transient], ['CREDENTIAL_FAILED', true], failure?.message)
      assert.ok(failure?.message.includes(new URL(metadata.url).host), failure?.message)
      assert.match(failure?.hint ?? '', /hop limit/)
    })
  }

  test('a lost request for the session token is repeated, in a service that requires one', async () => {
    let lost = 0
    await using metadata = await startAwsMetadata(({ method }, response) => {
      if (lost < 2 && method === 'PUT') return ++lost > 0
      if (lost < 2) response.writeHead(401).end()
      return lost < 2
    })
    process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = metadata.url
    using fetching = await sourceFor({ credential_timeout: 0.3 })
    assert.equal((await fetching.source.get()).identity, 'ASIAMACHINE')
  })

  test('an answer that takes more than 1 s for each request is accepted', async () => {
    await using metadata = await startAwsMetadata((_request, response) => {
      const end = response.end.bind(response)
      response.end = ((...all: Parameters<typeof end>) => {
        setTimeout(() => end(...all), 1300)
        return response
      }) as typeof response.end
      return false
    })
    process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = metadata.url
    using fetching = await sourceFor()
    assert.equal((await fetching.source.get()).identity, 'ASIAMACHINE')
    assert.deepEqual(fetching.failures(), [])
  })

  test('the service of a container, which the environment names, is asked again too', async () => {
    let ill = true
    await using metadata = await startAwsMetadata((_request, response) => {
      if (ill) response.writeHead(503).end()
      return ill
    })
    process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI = `${metadata.url}/container`
    using fetching = await sourceFor()
    const waiting = fetching.source.get()
    while (fetching.failures().length === 0) await sleep(5)
    ill = false
    assert.equal((await waiting).identity, 'ASIAMACHINE')
    assert.match(fetching.failures()[0]?.message ?? '', /metadata service 127\.0\.0\.1:\d+ answered HTTP 503/)
  })

  test('a service that refuses (403) is reported at once as no identity', async () => {
    await using metadata = await startAwsMetadata((_request, response) => {
      response.writeHead(403).end()
      return true
    })
    process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = metadata.url
    using fetching = await sourceFor()
    const error = await failureOf(fetching.source)
    assert.deepEqual([error.code, error.transient], ['CREDENTIAL_MISSING', false])
    assert.equal(fetching.failures().length, 1)
  })
})

describe('one lost request', () => {
  test('is repeated after credential_timeout, not after the time limit of the fetch', async () => {
    let lost = false
    await using sts = await startAwsMetadata((_request, response) => {
      if (!lost) {
        lost = true
        return true
      }
      response.setHeader('content-type', 'text/xml')
      response.end(
        `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>${new Date(Date.now() + 3_600_000).toISOString()}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
      )
      return true
    })
    process.env.AWS_ENDPOINT_URL_STS = sts.url
    using fetching = await sourceFor({
      aws_access_key_id: 'AKIA',
      aws_secret_access_key: 's',
      role_arn: 'arn:aws:iam::1:role/a',
      credential_timeout: 0.5,
    })
    const begin = performance.now()
    assert.equal((await fetching.source.get()).identity, 'arn:aws:iam::1:role/a')
    const took = performance.now() - begin
    assert.ok(took >= 490 && took < 10_000, `${took} ms`)
    await sts.abandoned
  })
})

describe('an answer without end', () => {
  for (const [what, variable, path] of [
    ['the metadata service', 'AWS_EC2_METADATA_SERVICE_ENDPOINT', ''],
    ["a container's metadata service", 'AWS_CONTAINER_CREDENTIALS_FULL_URI', '/container'],
  ] as const) {
    test(`of ${what} is cut off after about 1 MiB`, async () => {
      const taken: Promise<number>[] = []
      await using metadata = await startAwsMetadata((_request, response) => {
        taken.push(answerWithoutEnd(response))
        return true
      })
      process.env[variable] = metadata.url + path
      using fetching = await sourceFor()
      const error = await failureOf(fetching.source)
      assert.equal(error.transient, false)
      // Bytes in the sockets of both sides are still on their way.
      for (const bytes of await Promise.all(taken)) assert.ok(bytes < 12 * 1024 * 1024, `${bytes} bytes`)
    })
  }

  test('of STS is cut off too, compressed or not', async () => {
    const taken: Promise<number>[] = []
    await using sts = await startAwsMetadata((_request, response) => {
      if (taken.length % 2 === 1) response.setHeader('content-encoding', 'gzip')
      taken.push(answerWithoutEnd(response))
      return true
    })
    process.env.AWS_ENDPOINT_URL_STS = sts.url
    const keys = { aws_access_key_id: 'AKIA', aws_secret_access_key: 's', role_arn: 'arn:aws:iam::1:role/a' }
    using fetching = await sourceFor(keys)
    const error = await failureOf(fetching.source)
    assert.match(error.message, /longer than a token or key can be/)
    for (const bytes of await Promise.all(taken)) assert.ok(bytes < 12 * 1024 * 1024, `${bytes} bytes`)
  })
})

describe('the end of the pool', () => {
  test('ends a credential process that hangs, and its child processes', {
    skip: process.platform !== 'linux',
  }, async () => {
    const pids = join(folder.path, 'pids')
    const program = join(folder.path, 'hangs.sh')
    await writeFile(program, `#!/bin/sh\nsleep 600 &\necho $$ $! > ${pids}\nwait\n`)
    await chmod(program, 0o700)
    await writeFile(join(folder.path, 'config'), `[profile hangs]\ncredential_process = ${program}\n`)
    const fetching = await sourceFor({ aws_profile: 'hangs' })
    const waiting = failureOf(fetching.source)
    const started = async (): Promise<number[]> =>
      (await readFile(pids, 'latin1').catch(() => '')).trim().split(' ').filter(Boolean).map(Number)
    while ((await started()).length < 2) await sleep(5)
    fetching[Symbol.dispose]()
    assert.equal((await waiting).code, 'ABORTED')
    for (const pid of await started()) while (await isRunning(pid)) await sleep(5)
  })

  test('ends a request to a metadata service that hangs, and its socket', async () => {
    await using metadata = await startAwsMetadata(() => true)
    process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = metadata.url
    const fetching = await sourceFor()
    const waiting = failureOf(fetching.source)
    while (metadata.requests.length === 0) await sleep(5)
    fetching[Symbol.dispose]()
    assert.equal((await waiting).code, 'ABORTED')
    await metadata.abandoned
  })
})

async function isRunning(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined)
  // A zombie has ended; whoever started it has not looked yet.
  return status !== undefined && !/\) Z /.test(status)
}
