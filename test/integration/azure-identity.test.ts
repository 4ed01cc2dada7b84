/** The identity that was named gets the token, or none: this machine's, and the one of `az`, would answer otherwise. */

import assert from 'node:assert/strict'
import { access, chmod, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { delimiter, join } from 'node:path'
import test, { after, beforeEach, describe } from 'node:test'
import { SignJWT } from 'jose'
import { ConfigError, PoolsmithError } from '../../src/errors.ts'
import { azureAd } from '../../src/strategies/azure-ad.ts'
import { temporaryFolder } from '../support/folder.ts'
import { build } from '../unit/strategies/context.ts'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())

/** The client ids that the machine's identity was asked for; it answers as itself to each. */
const asked: (string | null)[] = []
const machine = createServer(async (request, response) => {
  asked.push(new URL(request.url ?? '', 'http://machine').searchParams.get('client_id'))
  const token = await new SignJWT({ appid: 'machine' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.alloc(32))
  const expires_on = String(Math.floor(Date.now() / 1000) + 7200)
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ access_token: token, expires_on, resource: 'x', token_type: 'Bearer' }))
})
await new Promise<void>((resolve) => machine.listen(0, '127.0.0.1', resolve))
after(() => {
  machine.closeAllConnections()
  machine.close()
})

const ran = join(folder.path, 'az-was-run')
await writeFile(join(folder.path, 'az'), `#!/bin/sh\necho run >> ${ran}\nexit 1\n`)
await chmod(join(folder.path, 'az'), 0o700)
const own = { ...process.env }
beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AZURE_')) delete process.env[name]
  process.env.IDENTITY_ENDPOINT = `http://127.0.0.1:${(machine.address() as AddressInfo).port}/msi/token`
  process.env.IDENTITY_HEADER = 'header'
  process.env.PATH = `${folder.path}${delimiter}${own.PATH}`
  asked.length = 0
  await rm(ran, { force: true })
})
after(() => {
  delete process.env.IDENTITY_ENDPOINT
  delete process.env.IDENTITY_HEADER
  Object.assign(process.env, own)
})

/** The identity of the token, or the error. */
async function identityOf(extra: Record<string, unknown>): Promise<string | PoolsmithError> {
  try {
    const { source } = await build(azureAd, { login: 'svc' }, extra, {
      environment: process.env as Record<string, string>,
    })
    try {
      return (await source.get()).identity
    } finally {
      source.close()
    }
  } catch (error) {
    assert.ok(error instanceof PoolsmithError)
    return error
  }
}

async function assertNoOther(): Promise<void> {
  assert.deepEqual(asked, [], "the machine's identity was asked for")
  await assert.rejects(access(ran), 'az was asked for its identity')
}

describe('an identity that is named is not replaced', () => {
  for (const environment of [
    { AZURE_CLIENT_ID: 'c', AZURE_TENANT_ID: 't' },
    { AZURE_CLIENT_SECRET: 's', AZURE_TENANT_ID: 't' },
    { AZURE_CLIENT_ID: 'c', AZURE_CLIENT_SECRET: 's' },
    { AZURE_CLIENT_ID: 'c', AZURE_CLIENT_CERTIFICATE_PATH: '/nowhere.pem' },
    { AZURE_FEDERATED_TOKEN_FILE: '/nowhere' },
  ]) {
    test(`half of one in the environment: ${Object.keys(environment).join(', ')}`, async () => {
      Object.assign(process.env, environment)
      const error = await identityOf({})
      assert.ok(error instanceof PoolsmithError, `${error} got the token`)
      assert.deepEqual([error.code, error.transient], ['CREDENTIAL_MISSING', false])
      await assertNoOther()
    })
  }

  for (const [what, environment, file] of [
    ['certificate', { AZURE_CLIENT_CERTIFICATE_PATH: '/nowhere/c.pem' }, /\/nowhere\/c\.pem/],
    ['token', { AZURE_FEDERATED_TOKEN_FILE: '/nowhere/token' }, /\/nowhere\/token/],
  ] as const) {
    test(`a ${what} file that does not exist is named, by the environment or the record`, async () => {
      Object.assign(process.env, { AZURE_CLIENT_ID: 'c', AZURE_TENANT_ID: 'common', ...environment })
      const extra = {
        client_id: 'c',
        tenant_id: 'common',
        ...(what === 'token'
          ? { federated_token_file: '/nowhere/token' }
          : { client_certificate_path: '/nowhere/c.pem' }),
      }
      for (const error of [await identityOf({}), await identityOf(extra)]) {
        assert.ok(error instanceof PoolsmithError, `${error} got the token`)
        assert.deepEqual([error.code, error.transient], ['CREDENTIAL_MISSING', false], error.message)
        assert.match(error.message, file)
      }
      await assertNoOther()
    })
  }

  test('a device or a pipe in place of a token file is refused', async () => {
    const error = await identityOf({ client_id: 'c', tenant_id: 'common', federated_token_file: '/dev/null' })
    assert.ok(error instanceof PoolsmithError, `${error} got the token`)
    assert.equal(error.code, 'CREDENTIAL_FAILED')
    assert.match(error.message, /The token file \/dev\/null is not a regular file/)
    await assertNoOther()
  })

  test('an application of the record without a proof is refused', async () => {
    const error = await identityOf({ client_id: 'c', tenant_id: 't' })
    assert.ok(error instanceof ConfigError, `${error}`)
    assert.deepEqual(
      error.problems.map(({ path }) => path),
      ['extra.client_id'],
    )
    await assertNoOther()
  })

  for (const [what, extra, environment] of [
    ['by managed_identity_client_id', { managed_identity_client_id: 'mine' }, {}],
    ['under azure_credential=default too', { azure_credential: 'default', managed_identity_client_id: 'mine' }, {}],
    ['by client_id', { azure_credential: 'managed_identity', client_id: 'mine' }, {}],
    ['by AZURE_CLIENT_ID', {}, { AZURE_CLIENT_ID: 'mine' }],
  ] as const) {
    test(`a managed identity ${what} is not replaced by the token of another one`, async () => {
      Object.assign(process.env, environment)
      const error = await identityOf(extra)
      assert.ok(error instanceof PoolsmithError, `${error} got the token`)
      assert.match(error.message, /issued to the application machine, not to mine/)
      assert.deepEqual(asked, ['mine'])
      await assert.rejects(access(ran))
    })
  }

  test('without any name the identity of the machine gets the token', async () => {
    assert.equal(await identityOf({}), 'machine')
  })
})
