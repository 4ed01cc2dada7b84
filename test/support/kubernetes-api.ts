/** A double of the API of Kubernetes for secrets: the secret prod/sales, and those that are written. */

import { writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { temporaryFolder } from './folder.ts'
import { createPki } from './pki.ts'

export const POD_TOKEN = 'eyJ.the-token-of-the-pod.1'

export interface ApiReply {
  readonly status: number
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** The object that the API server answers in place of a result. */
export const failure = (code: number, reason: string, message: string): ApiReply => ({
  status: code,
  body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code },
})

export interface ApiSecret {
  readonly metadata: Readonly<Record<string, unknown>>
  readonly type?: string
  readonly data: Readonly<Record<string, string>>
}

/** `a=b`, `a` and `!a`, with commas between them (Kubernetes documentation, "Labels and Selectors"). */
function isSelected(labels: object, selector: string): boolean {
  return selector.split(',').every((one) => {
    const [label = '', value] = one.split('=')
    if (label.startsWith('!')) return !Object.hasOwn(labels, label.slice(1))
    return value === undefined ? Object.hasOwn(labels, label) : Reflect.get(labels, label) === value
  })
}

const base64 = (value: string | Buffer): string => Buffer.from(value as string).toString('base64')

/** The API server; `fault` answers in its place. */
export async function startKubernetesApi(password: string) {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder())
  const pki = await createPki()
  const { cert, key } = await pki.issue({ commonName: 'kubernetes', ip: ['127.0.0.1'] })
  const secrets = new Map<string, ApiSecret>()
  let version = 7
  const put = (name: string, secret: ApiSecret): ApiSecret => {
    const metadata = { ...secret.metadata, namespace: 'prod', name, resourceVersion: String(version++) }
    const stored = { ...secret, metadata }
    secrets.set(name, stored)
    return stored
  }
  const setPassword = (text: string): void => {
    const data = { password: base64(text), keystore: base64(Buffer.from([255, 254])) }
    put('sales', { metadata: { labels: { team: 'etl' } }, type: 'Opaque', data })
  }
  setPassword(password)
  const state = {
    token: POD_TOKEN,
    fault: undefined as ApiReply | undefined,
    /** Answers in place of the server, as long as it is set. */
    respond: undefined as ((response: ServerResponse) => void) | undefined,
  }
  const shown = (status: number, secret: ApiSecret): ApiReply => ({
    status,
    body: { kind: 'Secret', apiVersion: 'v1', ...secret },
  })
  const answer = (method: string, url: string, authorization: string | undefined, body: string): ApiReply => {
    if (state.fault !== undefined) return state.fault
    if (authorization !== `Bearer ${state.token}`) return failure(401, 'Unauthorized', 'Unauthorized')
    const { pathname, searchParams } = new URL(url, 'https://h')
    const [, namespace, asked] = /^\/api\/v1\/namespaces\/([^/]+)\/secrets(?:\/([^/]+))?$/.exec(pathname) ?? []
    const object = body === '' ? undefined : (JSON.parse(body) as ApiSecret)
    const name = asked ?? String(object?.metadata.name)
    if (namespace !== 'prod') {
      const who = 'User "system:serviceaccount:prod:etl" cannot get resource "secrets"'
      return failure(403, 'Forbidden', `secrets "${name}" is forbidden: ${who}`)
    }
    if (method === 'GET' && asked === undefined) {
      const selector = searchParams.get('labelSelector') ?? ''
      const items = [...secrets.values()].filter(({ metadata }) => isSelected(metadata.labels ?? {}, selector))
      return { status: 200, body: { kind: 'SecretList', apiVersion: 'v1', items } }
    }
    const known = secrets.get(name)
    if (method === 'POST' && object !== undefined) {
      if (known !== undefined) return failure(409, 'AlreadyExists', `secrets "${name}" already exists`)
      return shown(201, put(name, object))
    }
    if (known === undefined) return failure(404, 'NotFound', `secrets "${name}" not found`)
    if (method !== 'PUT' || object === undefined) return shown(200, known)
    if (object.metadata.resourceVersion !== known.metadata.resourceVersion) {
      const words = 'the object has been modified; please apply your changes to the latest version and try again'
      return failure(409, 'Conflict', `Operation cannot be fulfilled on secrets "${name}": ${words}`)
    }
    return shown(200, put(name, object))
  }
  const server = createServer({ cert, key }, (request, response) => {
    void text(request).then((content) => {
      if (state.respond !== undefined) {
        state.respond(response)
        return
      }
      const { method = '', url = '', headers: asked } = request
      const { status, body, headers } = answer(method, url, asked.authorization, content)
      response.writeHead(status, { 'content-type': 'application/json', ...headers })
      response.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stack.defer(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const setToken = (token: string): Promise<void> => writeFile(join(folder.path, 'token'), token, { mode: 0o600 })
  await setToken(POD_TOKEN)
  await writeFile(join(folder.path, 'ca.crt'), pki.ca, { mode: 0o644 })
  const { port } = server.address() as AddressInfo
  const owned = stack.move()
  return Object.assign(state, {
    secrets,
    put,
    setPassword,
    setToken,
    extra: { k8s_account_folder: folder.path },
    environment: { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  })
}

export type KubernetesApi = Awaited<ReturnType<typeof startKubernetesApi>>
