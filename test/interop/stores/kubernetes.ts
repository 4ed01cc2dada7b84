/** A real API server of Kubernetes with its etcd, on loopback: without controllers, and without nodes. */

import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../../support/folder.ts'
import { freePort } from '../../support/free-port.ts'
import { fetched } from '../../support/interop.ts'
import type { Cluster } from '../../support/kubernetes-suite.ts'
import { createPki } from '../../support/pki.ts'

const ACCOUNT = 'etl'

const START_LIMIT_MILLIS = 120_000

type Json = Readonly<Record<string, unknown>>

export interface Kubernetes extends AsyncDisposable {
  readonly address: string
  /** PEM: the authority of its certificate. */
  readonly ca: string
  /** The variables that every pod has. */
  readonly environment: { readonly KUBERNETES_SERVICE_HOST: string; readonly KUBERNETES_SERVICE_PORT: string }
  /** Asks as an administrator, or with another token. @throws for any answer other than success */
  ask(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown, token?: string): Promise<Json>
  /** A token of a service account, as the kubelet asks for it: for the API server, or for another audience. */
  token(namespace: string, account: string, audience?: string): Promise<string>
}

export interface RealCluster extends Cluster {
  setToken(token: string): Promise<void>
}

export async function startKubernetes(): Promise<Kubernetes> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  const pki = await createPki('kubernetes authority', 'rsa')
  const { cert, key } = await pki.issue({ commonName: 'kubernetes', ip: ['127.0.0.1'], keyType: 'rsa' })
  const accounts = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const admin = randomUUID()
  const files = {
    'api.crt': cert,
    'api.key': key,
    'accounts.key': accounts.privateKey,
    'accounts.pub': accounts.publicKey,
    'tokens.csv': `${admin},admin,1,"system:masters"\n`,
  }
  const at = (name: string): string => join(folder, name)
  for (const [name, content] of Object.entries(files)) await writeFile(at(name), content, { mode: 0o600 })
  await mkdir(at('etcd'), { mode: 0o700 })
  const [clients, peers, port] = [await freePort(), await freePort(), await freePort()]
  const store = `http://127.0.0.1:${clients}`
  const peer = `http://127.0.0.1:${peers}`
  const address = `https://127.0.0.1:${port}`
  const start = (program: string, options: Readonly<Record<string, string>>): ChildProcess => {
    const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
    const child = spawn(program, args, { env: { PATH: process.env.PATH, HOME: folder }, cwd: folder, stdio: 'ignore' })
    const ended = once(child, 'exit')
    stack.defer(async () => {
      child.kill('SIGKILL')
      await ended
    })
    return child
  }
  const etcd = start('/usr/bin/etcd', {
    'data-dir': at('etcd'),
    'listen-client-urls': store,
    'advertise-client-urls': store,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `default=${peer}`,
    'unsafe-no-fsync': 'true',
    // A watch begins only when etcd has told how far it is.
    'experimental-watch-progress-notify-interval': '500ms',
  })
  const server = start(join(fetched('stores', 'go'), 'bin', 'kube-apiserver'), {
    'etcd-servers': store,
    'bind-address': '127.0.0.1',
    'advertise-address': '127.0.0.1',
    'secure-port': String(port),
    'tls-cert-file': at('api.crt'),
    'tls-private-key-file': at('api.key'),
    'service-account-issuer': address,
    'service-account-signing-key-file': at('accounts.key'),
    'service-account-key-file': at('accounts.pub'),
    'service-cluster-ip-range': '10.0.0.0/24',
    'authorization-mode': 'RBAC',
    'token-auth-file': at('tokens.csv'),
    // The plugin waits for a controller, which is not there, to make the accounts of a namespace.
    'disable-admission-plugins': 'ServiceAccount',
  })

  async function ask(method: string, path: string, body?: unknown, token: string = admin): Promise<Json> {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const sent = request(new URL(path, address), { method, headers, ca: pki.ca, agent: false })
    sent.end(body === undefined ? undefined : JSON.stringify(body))
    const [answer] = await once(sent, 'response')
    const content = await text(answer)
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${content}`)
    return content.startsWith('{') ? JSON.parse(content) : { content }
  }

  const limit = Date.now() + START_LIMIT_MILLIS
  const isReady = () =>
    ask('GET', '/readyz').then(
      () => true,
      () => false,
    )
  while (!(await isReady())) {
    if (Date.now() > limit || etcd.exitCode !== null || server.exitCode !== null) {
      throw new Error('The API server of Kubernetes did not start.')
    }
    await sleep(200)
  }
  const owned = stack.move()
  return {
    address,
    ca: pki.ca,
    environment: { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) },
    ask,
    async token(namespace, account, audience) {
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`
      const audiences = audience === undefined ? undefined : [audience]
      const { status } = await ask('POST', path, { spec: { expirationSeconds: 600, audiences } })
      return (status as { token: string }).token
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Makes the namespace `prod`, whose service account `etl` may read and write the secrets there, and gives it to suites. */
export async function layOut({
  ask,
  ca,
  environment,
  token: tokenOf,
}: Kubernetes): Promise<() => Promise<RealCluster>> {
  const prod = '/api/v1/namespaces/prod'
  const roles = '/apis/rbac.authorization.k8s.io/v1/namespaces/prod'
  await ask('POST', '/api/v1/namespaces', { metadata: { name: 'prod' } })
  await ask('POST', `${prod}/serviceaccounts`, { metadata: { name: ACCOUNT } })
  const rules = [{ apiGroups: [''], resources: ['secrets'], verbs: ['get', 'list', 'create', 'update'] }]
  await ask('POST', `${roles}/roles`, { metadata: { name: 'secrets' }, rules })
  await ask('POST', `${roles}/rolebindings`, {
    metadata: { name: 'secrets' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'secrets' },
    subjects: [{ kind: 'ServiceAccount', name: ACCOUNT, namespace: 'prod' }],
  })

  return async () => {
    await using stack = new AsyncDisposableStack()
    const folder = stack.use(await temporaryFolder()).path
    await ask('DELETE', `${prod}/secrets`)
    let token = ''
    const setToken = async (next: string): Promise<void> => {
      token = next
      await writeFile(join(folder, 'token'), token, { mode: 0o600 })
    }
    await setToken(await tokenOf('prod', ACCOUNT))
    await writeFile(join(folder, 'ca.crt'), ca)
    await writeFile(join(folder, 'namespace'), 'prod')
    const names = new Set<string>()
    const owned = stack.move()
    return {
      environment,
      extra: { k8s_account_folder: folder },
      async apply(name, data, labels) {
        const object = { type: 'Opaque', metadata: { name, labels }, data }
        if (names.has(name)) await ask('PUT', `${prod}/secrets/${name}`, object)
        else await ask('POST', `${prod}/secrets`, object)
        names.add(name)
      },
      stored: async (name) => (await ask('GET', `${prod}/secrets/${name}`)) as never,
      replaceToken: async () => setToken(await tokenOf('prod', ACCOUNT)),
      spoilToken: () => setToken('garbage'),
      setToken,
      token: () => token,
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  }
}
