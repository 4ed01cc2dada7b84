/** Secrets and service accounts of a real API server. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { base64, kubernetesSuite } from '../../support/kubernetes-suite.ts'
import { findSecrets } from '../../support/object-graph.ts'
import { openStore } from '../../support/open-store.ts'
import { administer } from '../../support/vault/server.ts'
import { layOut, type RealCluster, startKubernetes } from './kubernetes.ts'
import { startOpenBao } from './openbao.ts'

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())
const server = stack.use(await startKubernetes())
const start = await layOut(server)

kubernetesSuite('Kubernetes', start)

test('a token for another audience, of a deleted account and of one without a role are refused', async () => {
  await using cluster = await start()
  await cluster.apply('sales', { password: base64('one') })
  await server.ask('POST', '/api/v1/namespaces/prod/serviceaccounts', { metadata: { name: 'idle' } })
  const refusal = async (token: string): Promise<string> => {
    await cluster.setToken(token)
    using store = openStore('k8s:prod/sales#password', cluster.extra, cluster.environment)
    const error = await store.failure()
    assert.equal(error.code, 'STORE_REFUSED')
    assert.deepEqual(findSecrets(error, [token]), [])
    return `${error.message} ${error.hint}`
  }
  const idle = await server.token('prod', 'idle')
  assert.match(await refusal(await server.token('prod', 'etl', 'urn:bao')), /HTTP 401.*for another audience/)
  assert.match(await refusal(idle), /HTTP 403.*serviceaccount:prod:idle.*verb get on secrets, resourceNames \[sales\]/)
  await server.ask('DELETE', '/api/v1/namespaces/prod/serviceaccounts/idle')
  // The API server keeps what it knows of a token for some seconds.
  while (!(await refusal(idle)).includes('HTTP 401')) await sleep(200)
})

test('a role for one secret by its name is enough to read it, and tells nothing of others', async () => {
  await using cluster = await start()
  await cluster.apply('sales', { password: base64('one') })
  const namespace = '/apis/rbac.authorization.k8s.io/v1/namespaces/prod'
  const rules = [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'], resourceNames: ['sales', 'never'] }]
  await server.ask('POST', '/api/v1/namespaces/prod/serviceaccounts', { metadata: { name: 'reader' } })
  await server.ask('POST', `${namespace}/roles`, { metadata: { name: 'sales' }, rules })
  await server.ask('POST', `${namespace}/rolebindings`, {
    metadata: { name: 'sales' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'sales' },
    subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace: 'prod' }],
  })
  await cluster.setToken(await server.token('prod', 'reader'))
  const codeOf = async (name: string): Promise<string> => {
    using store = openStore(`k8s:prod/${name}#password`, cluster.extra, cluster.environment)
    return await store.value().catch((error: { readonly code: string }) => error.code)
  }
  assert.equal(await codeOf('sales'), 'one')
  assert.equal(await codeOf('never'), 'SECRET_MISSING')
  assert.equal(await codeOf('other'), 'STORE_REFUSED')
})

describe('service accounts log in to OpenBao', () => {
  const POLICY = 'path "secret/data/sales" { capabilities = ["read"] }'

  async function startBao(cluster: RealCluster) {
    const bao = await startOpenBao()
    await administer(bao, 'POST', 'secret/data/sales', { data: { password: 'one' } })
    await administer(bao, 'POST', 'sys/policies/acl/reader', { policy: POLICY })
    const file = join(cluster.extra.k8s_account_folder, 'token')
    const open = (method: string) =>
      openStore('vault:secret/sales#password', {
        vault_addr: bao.address,
        vault_auth: method,
        vault_role: 'etl',
        vault_jwt_file: file,
      })
    const refusal = async (method: string, token: string): Promise<string> => {
      await cluster.setToken(token)
      using store = open(method)
      const error = await store.failure()
      assert.equal(error.code, 'STORE_REFUSED', error.message)
      assert.deepEqual(findSecrets(error, [token]), [])
      return error.message
    }
    return Object.assign(bao, { open, refusal })
  }

  /** A token whose claims were changed after it was signed. */
  function tampered(token: string): string {
    const [header, body = '', signature] = token.split('.')
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as object
    const changed = Buffer.from(JSON.stringify({ ...claims, sub: 'system:serviceaccount:prod:admin' }))
    return [header, changed.toString('base64url'), signature].join('.')
  }

  test('by `kubernetes`, which has the API server review the token', async () => {
    await using cluster = await start()
    await using bao = await startBao(cluster)
    const reviewer = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings'
    await server.ask('POST', '/api/v1/namespaces/prod/serviceaccounts', { metadata: { name: 'bao' } })
    await server.ask('POST', reviewer, {
      metadata: { name: 'bao' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:auth-delegator' },
      subjects: [{ kind: 'ServiceAccount', name: 'bao', namespace: 'prod' }],
    })
    await administer(bao, 'POST', 'sys/auth/kubernetes', { type: 'kubernetes' })
    await administer(bao, 'POST', 'auth/kubernetes/config', {
      kubernetes_host: server.address,
      kubernetes_ca_cert: server.ca,
      token_reviewer_jwt: await server.token('prod', 'bao'),
    })
    await administer(bao, 'POST', 'auth/kubernetes/role/etl', {
      bound_service_account_names: ['etl'],
      bound_service_account_namespaces: ['prod'],
      audience: 'urn:bao',
      token_policies: ['reader'],
    })
    const good = await server.token('prod', 'etl', 'urn:bao')
    await cluster.setToken(good)
    {
      using store = bao.open('kubernetes')
      assert.equal(await store.value(), 'one')
    }
    assert.match(await bao.refusal('kubernetes', tampered(good)), /log in by kubernetes \(HTTP 40[03]\)/)
    assert.match(await bao.refusal('kubernetes', await server.token('prod', 'bao', 'urn:bao')), /HTTP 40[03]/)
    assert.match(await bao.refusal('kubernetes', await server.token('prod', 'etl', 'urn:other')), /HTTP 40[03]/)
  })

  test('by `jwt`, which finds the keys of the API server by discovery', async () => {
    await using cluster = await start()
    await using bao = await startBao(cluster)
    // A cluster gives its keys to its own accounts alone, unless it is told otherwise.
    await server.ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'discovery' },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'system:service-account-issuer-discovery',
      },
      subjects: [{ kind: 'Group', name: 'system:unauthenticated', apiGroup: 'rbac.authorization.k8s.io' }],
    })
    await administer(bao, 'POST', 'sys/auth/jwt', { type: 'jwt' })
    const config = { oidc_discovery_url: server.address, oidc_discovery_ca_pem: server.ca }
    await administer(bao, 'POST', 'auth/jwt/config', config)
    await administer(bao, 'POST', 'auth/jwt/role/etl', {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_subject: 'system:serviceaccount:prod:etl',
      bound_audiences: ['urn:bao'],
      token_policies: ['reader'],
    })
    const good = await server.token('prod', 'etl', 'urn:bao')
    await cluster.setToken(good)
    {
      using store = bao.open('jwt')
      assert.equal(await store.value(), 'one')
    }
    assert.match(await bao.refusal('jwt', tampered(good)), /log in by jwt \(HTTP 400\)/)
    assert.match(await bao.refusal('jwt', await server.token('prod', 'etl')), /HTTP 400\): .*aud/)
  })
})
