/** The requests of strategies by the vendors' SDKs, through the same proxy as the database. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { get } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, describe, test } from 'node:test'
import { inspect } from 'node:util'
import { parseFields } from '../../src/connections/fields.ts'
import { parseConnection } from '../../src/connections/parse.ts'
import type { Credential } from '../../src/credentials/credential.ts'
import { proxyFields } from '../../src/drivers/network/proxy/options.ts'
import { createProxies, type Proxies } from '../../src/drivers/network/proxy/proxies.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { azureAd } from '../../src/strategies/azure-ad.ts'
import { iam } from '../../src/strategies/iam.ts'
import type { Strategy } from '../../src/strategies/strategy.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { type ProxyDoubleOptions, page, startProxyDouble } from '../support/proxy-double.ts'

const SECRET = 'a-secret-that-nobody-may-see'
const HOSTS = { 'login.test': '127.0.0.1', 'sts.test': '127.0.0.1' }
const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())
const provider = stack.use(await startOpenIdProvider({ app: { secret: SECRET } }))
const providerPort = new URL(provider.authorityHost).port

const double = (options: ProxyDoubleOptions = {}) => startProxyDouble({ ...options, hosts: HOSTS })

function agentsFor(
  extra: Readonly<Record<string, unknown>>,
  environment: Record<string, string> = {},
): Proxies['agents'] {
  const { values, problems } = parseFields(proxyFields, extra)
  assert.deepEqual(problems, [])
  return createProxies(values, { environment, emit: () => undefined }).agents
}

/** One credential of a strategy that is handed these agents, as the engine does it. */
async function fetched(
  strategy: Strategy,
  extra: Readonly<Record<string, unknown>>,
  agents: Proxies['agents'],
): Promise<Credential> {
  const { values, problems } = parseFields(strategy.fields, extra)
  assert.deepEqual(problems, [])
  const connection = parseConnection('postgres://svc@db.example.com/app')
  const source = await strategy.credentials(connection, values, {
    emit: () => undefined,
    environment: process.env,
    settings: values,
    agents,
  })
  try {
    return await source.get(AbortSignal.timeout(20_000))
  } finally {
    source.close()
  }
}

async function failure(promise: Promise<unknown>): Promise<PoolsmithError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, inspect(error))
  assert.doesNotMatch(inspect(error, { depth: 9 }), new RegExp(`${SECRET}|hunter2|${btoa('me:hunter2')}`))
  return error
}

describe('@azure/identity', () => {
  const extra = {
    tenant_id: provider.tenant,
    client_id: 'app',
    client_secret: SECRET,
    authority_host: `https://login.test:${providerPort}`,
    disable_instance_discovery: true,
  }

  test('reaches its authority through the proxy, with TLS end to end', async () => {
    await using proxy = await double()
    const credential = await fetched(azureAd, extra, agentsFor({ proxy: `http://me:hunter2@127.0.0.1:${proxy.port}` }))
    assert.equal(credential.kind, 'token')
    assert.deepEqual(new Set(proxy.requests.map(({ target }) => target)), new Set([`login.test:${providerPort}`]))
    assert.equal(proxy.requests[0]?.headers['proxy-authorization'], `Basic ${btoa('me:hunter2')}`)
  })

  test('gets the error of the proxy, and no token by a direct connection', async () => {
    const before = provider.requests.length
    const denied = page('407 No', ['Proxy-Authenticate: Basic realm="x"'])
    await using proxy = await double({ answer: () => ({ send: denied, next: 'close' }) })
    const agents = agentsFor({ proxy: `http://me:hunter2@127.0.0.1:${proxy.port}` })
    const error = await failure(fetched(azureAd, extra, agents))
    assert.deepEqual([error.code, error.phase, error.transient], ['PROXY_AUTH_REFUSED', 'proxy', false])
    assert.match(
      error.message,
      /The Microsoft Entra token could not be fetched: The proxy http:\/\/127\.0\.0\.1:\d+ refuses/,
    )
    assert.equal(provider.requests.length, before)
  })

  test('connects directly to the hosts in no_proxy', async () => {
    await using proxy = await double()
    const there = { ...extra, authority_host: provider.authorityHost }
    const agents = agentsFor({ proxy: `http://127.0.0.1:${proxy.port}`, no_proxy: 'localhost' })
    assert.equal((await fetched(azureAd, there, agents)).kind, 'token')
    assert.equal(proxy.connections, 0)
  })
})

describe('the AWS SDK', () => {
  test('asks STS for a role through the proxy', async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString()
    const sts = createServer((_request, response) => {
      response
        .writeHead(200, { 'content-type': 'text/xml' })
        .end(
          `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>${until}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
        )
    }).listen(0, '127.0.0.1')
    await once(sts, 'listening')
    const { port } = sts.address() as AddressInfo
    process.env.AWS_ENDPOINT_URL_STS = `http://sts.test:${port}`
    try {
      await using proxy = await double()
      const agents = agentsFor({ proxy: `http://127.0.0.1:${proxy.port}` })
      const given = {
        region: 'eu-west-1',
        aws_access_key_id: 'AKIA',
        aws_secret_access_key: SECRET,
        role_arn: 'arn:aws:iam::123456789012:role/etl',
      }
      assert.equal((await fetched(iam, given, agents)).identity, given.role_arn)
      assert.deepEqual(
        proxy.requests.map(({ target }) => target),
        [`sts.test:${port}`],
      )
      await using closed = await double({ answer: () => ({ send: page('403 No'), next: 'close' }) })
      const error = await failure(fetched(iam, given, agentsFor({ proxy: `http://127.0.0.1:${closed.port}` })))
      assert.deepEqual([error.code, error.phase], ['PROXY_FORBIDDEN', 'proxy'])
    } finally {
      delete process.env.AWS_ENDPOINT_URL_STS
      sts.closeAllConnections()
      sts.close()
      await once(sts, 'close')
    }
  })
})

describe('the agents', () => {
  test('never use a proxy for the metadata services or for this machine', async () => {
    await using proxy = await double({ answer: () => ({ next: 'hang' }) })
    const { http, https } = agentsFor({ proxy: `http://127.0.0.1:${proxy.port}` })
    const local = createServer((_request, response) => response.end('here')).listen(0, '127.0.0.1')
    await once(local, 'listening')
    const { port } = local.address() as AddressInfo
    try {
      for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]']) {
        const call = request({ host: host.replace(/[[\]]/g, ''), port, agent: http }).end()
        const [response] = await once(call, 'response')
        assert.equal(await text(response), 'here')
      }
      // No server has to answer there: it is enough that the proxy is not asked.
      for (const host of ['169.254.169.254', '169.254.170.2', 'fd00:ec2::254']) {
        for (const agent of [http, https]) {
          const call = agent === https ? get({ host, port: 1, agent }) : request({ host, port: 1, agent }).end()
          call.once('error', () => undefined)
          await new Promise((resolve) => setTimeout(resolve, 20))
          call.destroy()
        }
      }
      assert.equal(proxy.connections, 0)
    } finally {
      local.closeAllConnections()
      local.close()
      await once(local, 'close')
    }
  })

  test('respect NO_PROXY of the environment also under an explicit proxy', async () => {
    await using proxy = await double({ answer: () => ({ send: page('403 No'), next: 'close' }) })
    const extra = { proxy: `http://127.0.0.1:${proxy.port}` }
    const ask = async (agents: Proxies['agents']): Promise<string> => {
      const call = get({ host: 'login.test', port: providerPort, agent: agents.https })
      const [error] = await once(call, 'error')
      return (error as NodeJS.ErrnoException).code ?? ''
    }
    assert.equal(await ask(agentsFor(extra)), 'PROXY_FORBIDDEN')
    assert.notEqual(await ask(agentsFor(extra, { NO_PROXY: '.test' })), 'PROXY_FORBIDDEN')
    assert.equal(proxy.connections, 1)
  })

  test('under proxy=env use the variable of the scheme', async () => {
    await using secure = await double({ answer: () => ({ send: page('403 No'), next: 'close' }) })
    await using plain = await double({ answer: () => ({ send: page('403 No'), next: 'close' }) })
    const environment = { https_proxy: `http://127.0.0.1:${secure.port}`, http_proxy: `http://127.0.0.1:${plain.port}` }
    const { http, https } = agentsFor({ proxy: 'env' }, environment)
    await once(get({ host: 'login.test', port: 443, agent: https }), 'error')
    await once(request({ host: 'login.test', port: 80, agent: http }).end(), 'error')
    assert.deepEqual(
      [secure, plain].map(({ requests }) => requests.map(({ target }) => target)),
      [['login.test:443'], ['login.test:80']],
    )
  })
})
